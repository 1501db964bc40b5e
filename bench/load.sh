#!/usr/bin/env bash
# What the gateway costs: the same calls straight at a fixed, fast MCP answer and through `doorward dev`.
#
#   bench/load.sh [SECONDS] [CONNECTIONS]      default 10 and 64
#
# Needs wrk, nginx, node and curl on the PATH (Debian: wrk nginx-light nodejs curl) and a built target/release/doorward;
# DOORWARD names another binary. See README.md beside this file for how to read the numbers.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
connections=${2:-64}
doorward=$(realpath "${DOORWARD:-target/release/doorward}")
for program in wrk nginx node curl "$doorward"; do
    command -v "$program" >/dev/null || { echo "missing: $program" >&2; exit 2; }
done

folder=$(mktemp -d)
children=()
finish() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    for child in "${children[@]}"; do wait "$child" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap finish EXIT

free_port() { node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }
upstream_port=$(free_port)
gateway_port=$(free_port)
upstream=http://127.0.0.1:$upstream_port/mcp
gateway=http://localhost:$gateway_port/mcp/fixed

# The upstream answers every POST at once, with the answer to a small tool call.
cat >"$folder/nginx.conf" <<NGINX
worker_processes 1;
daemon off;
pid $folder/nginx.pid;
error_log $folder/nginx.log;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    server {
        listen 127.0.0.1:$upstream_port backlog=4096;
        location = /mcp {
            default_type application/json;
            return 200 '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Echo: hello"}]}}';
        }
    }
}
NGINX
nginx -c "$folder/nginx.conf" -p "$folder" -e "$folder/nginx.log" &
children+=($!)

# The example login's credentials are not set, so `dev` signs in a development person; --auto-approve clicks.
mkdir "$folder/config"
cat >"$folder/config/policies.json" <<'JSON'
{ "policies": [ { "name": "login", "policyType": "mcp-workos-oauth-inbound",
    "handler": { "options": { "clientId": "$env(WORKOS_CLIENT_ID)", "clientSecret": "$env(WORKOS_API_KEY)" } } } ],
  "corsPolicies": [] }
JSON
cat >"$folder/config/routes.oas.json" <<JSON
{ "openapi": "3.1.0", "info": { "title": "Load", "version": "1" },
  "paths": { "/mcp/fixed": { "get,post": { "operationId": "fixed", "summary": "A fixed answer",
    "x-doorward-route": { "corsPolicy": "none",
      "handler": { "export": "McpProxyHandler", "options": { "rewritePattern": "$upstream" } },
      "policies": { "inbound": ["login"] } } } } } }
JSON
env -u WORKOS_CLIENT_ID -u WORKOS_CLIENT_SECRET -u WORKOS_API_KEY \
    "$doorward" dev "$folder" --auto-approve --log-level warn \
    --listen "127.0.0.1:$gateway_port" >"$folder/gateway.log" 2>&1 &
gateway_pid=$!
children+=("$gateway_pid")

for _ in $(seq 100); do
    curl -fsS -o /dev/null "http://127.0.0.1:$gateway_port/readyz" 2>/dev/null && break
    kill -0 "$gateway_pid" 2>/dev/null || { cat "$folder/gateway.log" >&2; exit 1; }
    sleep 0.1
done

token=$(node tests/interop/obtain_token.mjs "$gateway" 2>/dev/null | node -p 'JSON.parse(require("fs").readFileSync(0)).accessToken')

cat >"$folder/call.lua" <<'LUA'
wrk.method = "POST"
wrk.body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, text/event-stream"
wrk.headers["MCP-Protocol-Version"] = "2025-11-25"
if os.getenv("TOKEN") then wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN") end
done = function(summary, latency)
    local e = summary.errors
    local bad = e.connect + e.read + e.write + e.status + e.timeout
    io.stderr:write(string.format("%.0f %.3f %.3f %d\n",
        summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, bad))
end
LUA

# Prints: requests per second, p50 ms, p99 ms, errors.
measure() {
    local url=$1
    wrk -t1 -c"$connections" -d2s -s "$folder/call.lua" "$url" >/dev/null 2>&1 # warms caches and connections
    wrk -t1 -c"$connections" -d"${seconds}s" -s "$folder/call.lua" "$url" 2>&1 >/dev/null | tail -1
}

read -r direct_rps direct_p50 direct_p99 direct_bad < <(measure "$upstream")
read -r through_rps through_p50 through_p99 through_bad < <(TOKEN=$token measure "$gateway")
resident=$(awk '/VmHWM/ {printf "%.0f", $2 / 1024}' "/proc/$gateway_pid/status")

row() { printf '%-18s %10s %10s %10s %8s\n' "$@"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", (b > 0) ? a / b : 0 }'; }
printf '%s connections, %s s, %s cores\n' "$connections" "$seconds" "$(nproc)"
row '' 'calls/s' 'p50 ms' 'p99 ms' errors
row direct "$direct_rps" "$direct_p50" "$direct_p99" "$direct_bad"
row 'through doorward' "$through_rps" "$through_p50" "$through_p99" "$through_bad"
row 'through / direct' "$(ratio "$through_rps" "$direct_rps")" "$(ratio "$through_p50" "$direct_p50")" "$(ratio "$through_p99" "$direct_p99")" ''
printf 'peak resident memory of the gateway: %s MiB\n' "$resident"
[ "$direct_bad" = 0 ] && [ "$through_bad" = 0 ]
