#!/usr/bin/env python3
"""What the gateway costs beside other proxies: one table, measured in one run on one machine.

    bench/compare.py [--rounds 5] [--seconds 5] [--connections 64] [--only NAME ...]

The proxy under test has core 0 to itself; wrk, the pacer and the upstream share core 1. Needs wrk, nginx, haproxy, node
and taskset on the PATH (Debian: wrk nginx-light haproxy nodejs util-linux), and two programs built before:

    cargo build --profile dist && cargo build --release --example pace

DOORWARD and PACE name other binaries. README.md beside this file says how to read the numbers.
"""
import argparse
import base64
import json
import os
import pathlib
import re
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}'
ANSWER = '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Echo: hello"}]}}'
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A program on one core, with what its whole family has used."""

    def __init__(self, core, command, log, **options):
        self.log = log
        command = ["taskset", "-c", str(core), *map(str, command)]
        self.child = subprocess.Popen(command, stdout=open(log, "ab"), stderr=subprocess.STDOUT, **options)

    def family(self):
        found, left = [], [self.child.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            try:
                left += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                pass
        return found

    def cpu(self):
        """Seconds of processor time so far."""
        ticks = 0
        for pid in self.family():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK

    def resident(self):
        """Bytes of memory of its own."""
        total = 0
        for pid in self.family():
            total += int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) * 1024
        return total

    def stop(self):
        for pid in reversed(self.family()):
            try:
                os.kill(pid, 15)
            except ProcessLookupError:
                pass
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def ready(url, process, headers=()):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.child.poll() is not None:
            break
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers)), timeout=1) as answer:
                answer.read()
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"not ready: {url}\n{pathlib.Path(process.log).read_text()[-2000:]}")


def nginx(folder, name, port, location):
    """An nginx with one location `/mcp/fixed`."""
    home = folder / name
    home.mkdir()
    (home / "nginx.conf").write_text(f"""
worker_processes 1;
daemon off;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    large_client_header_buffers 4 16k;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    {location}
}}
""")
    return ["nginx", "-c", home / "nginx.conf", "-p", home, "-e", home / "error.log"]


def upstream(folder, port):
    return nginx(folder, "upstream", port, f"""
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type application/json; return 200 '{ANSWER}'; }}
    }}""")


def nginx_proxy(folder, port, upstream_port):
    return nginx(folder, "nginx", port, f"""
    upstream mcp {{ server 127.0.0.1:{upstream_port}; keepalive 256; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mcp;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}""")


def haproxy(folder, name, port, upstream_port, rules=""):
    path = folder / f"{name}.cfg"
    path.write_text(f"""
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 3600s
    timeout server 3600s
    http-reuse always
frontend in
    bind 127.0.0.1:{port}
    {rules}
    default_backend mcp
backend mcp
    server one 127.0.0.1:{upstream_port} pool-max-conn 1000
""")
    return ["haproxy", "-db", "-f", path]


def verifying(folder, jwks, token, audience):
    """HAProxy's rules for ES256: signature, audience, expiry."""
    kid = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"]
    [key] = [key for key in jwks["keys"] if key["kid"] == kid]
    x, y = (base64.urlsafe_b64decode(key[part] + "==") for part in "xy")
    # SubjectPublicKeyInfo of a P-256 point (RFC 5480).
    der = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04" + x + y
    pem = folder / "key.pem"
    body = base64.encodebytes(der).decode()
    pem.write_text(f"-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----\n")
    return f"""
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
    http-request set-var(txn.aud) var(txn.token),jwt_payload_query('$.aud')
    http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str ES256 }}
    http-request deny deny_status 401 unless {{ var(txn.aud) -m str {audience} }}
    http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.alg,"{pem}") 1 }}
"""


class Gateway:
    """doorward with the development login, and a token from its whole journey."""

    def __init__(self, folder, upstream_port, streaming_port, binary, routes):
        self.home = folder / "doorward"
        (self.home / "config").mkdir(parents=True)
        self.port, self.binary = free_port(), binary
        policies = {"policies": [{"name": "login", "policyType": "mcp-workos-oauth-inbound", "handler": {"options": {
            "clientId": "$env(WORKOS_CLIENT_ID)", "clientSecret": "$env(WORKOS_API_KEY)",
            "gateway": {"accessTokenTtlSeconds": 3600, "limits": {"streamsPerGrant": 20000}}}}}], "corsPolicies": []}
        paths = {}
        slugs = ["streams", *(f"other-{number}" for number in range(routes - 1)), "fixed"]
        for slug in slugs:
            target = f"http://127.0.0.1:{streaming_port if slug == 'streams' else upstream_port}/mcp/fixed"
            paths[f"/mcp/{slug}"] = {"get,post": {"operationId": slug, "summary": slug, "x-doorward-route": {
                "corsPolicy": "none", "policies": {"inbound": ["login"]},
                "handler": {"export": "McpProxyHandler", "options": {"rewritePattern": target}}}}}
        (self.home / "config/policies.json").write_text(json.dumps(policies))
        (self.home / "config/routes.oas.json").write_text(
            json.dumps({"openapi": "3.1.0", "info": {"title": "Load", "version": "1"}, "paths": paths}))
        self.url = f"http://localhost:{self.port}/mcp/fixed"
        self.start()
        self.token = self.obtain_token("fixed")

    def obtain_token(self, slug):
        url = f"http://localhost:{self.port}/mcp/{slug}"
        robot = subprocess.run(["node", ROOT / "tests/interop/obtain_token.mjs", url], capture_output=True, text=True)
        if robot.returncode:
            sys.exit(f"no token: {robot.stderr}")
        return json.loads(robot.stdout)["accessToken"]

    def add_grants(self, count):
        """Copies of the one grant, under names of their own."""
        self.process.stop()
        store = sqlite3.connect(self.home / ".doorward/doorward.db")
        names = [column[1] for column in store.execute("pragma table_info(grants)")]
        row = dict(zip(names, store.execute("select * from grants limit 1").fetchone()))
        copies = ([f"grt_copy_{number}" if name == "id" else row[name] for name in names] for number in range(count))
        with store:
            store.executemany(f"insert into grants ({','.join(names)}) values ({','.join('?' * len(names))})", copies)
        store.close()
        self.start()

    def start(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKOS_")}
        command = [self.binary, "dev", self.home, "--auto-approve", "--log-level", "warn",
                   "--max-streams", "20000", "--max-connections", "30000", "--listen", f"127.0.0.1:{self.port}"]
        self.process = Process(0, command, self.home / "log", env=environment)
        ready(f"http://127.0.0.1:{self.port}/readyz", self.process)

    def first_answer(self):
        """Milliseconds from the start on an existing store to the first 200."""
        self.process.stop()
        began = time.monotonic()
        self.start()
        return (time.monotonic() - began) * 1000


def wrk(folder, url, token, seconds, connections, host):
    script = folder / "call.lua"
    script.write_text(f"""
wrk.method = "POST"
wrk.body = '{CALL}'
wrk.headers["Host"] = "{host}"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, text/event-stream"
wrk.headers["MCP-Protocol-Version"] = "2025-11-25"
wrk.headers["Authorization"] = "Bearer {token}"
done = function(summary, latency)
    local e = summary.errors
    io.stderr:write(string.format("%d %f %d\\n", summary.requests, summary.duration / 1e6,
        e.connect + e.read + e.write + e.status + e.timeout))
end
""")
    done = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, url],
                          capture_output=True, text=True)
    requests, duration, bad = done.stderr.split()[-3:]
    if int(bad):
        sys.exit(f"{bad} calls failed at {url}")
    return int(requests), float(duration)


def pace(pacer, *arguments):
    done = subprocess.run(["taskset", "-c", "1", pacer, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"pace: {done.stderr}")
    return json.loads(done.stdout)


def hold_streams(pacer, gateway, count):
    """KiB of memory that an open stream takes."""
    token = gateway.obtain_token("streams")
    anonymous = lambda: int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{gateway.process.child.pid}/status").read_text())[1])
    before = anonymous()
    command = ["taskset", "-c", "1", pacer, "streams", gateway.port, f"localhost:{gateway.port}", token, count]
    holder = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if not holder.stdout.readline().startswith("open"):
        sys.exit("the streams could not be opened")
    held = (anonymous() - before) / count
    holder.stdin.close()
    holder.wait()
    return held


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--only", nargs="*", default=[], help="of these proxies only")
    options.add_argument("--brief", action="store_true", help="throughput and CPU only")
    options.add_argument("--streams", type=int, default=4000, help="event streams to hold open")
    options.add_argument("--routes", type=int, default=1, help="routes of the gateway")
    options.add_argument("--grants", type=int, default=0, help="further live grants in its store")
    options = options.parse_args()
    doorward = pathlib.Path(os.environ.get("DOORWARD", ROOT / "target/dist/doorward")).resolve()
    pacer = pathlib.Path(os.environ.get("PACE", ROOT / "target/release/examples/pace")).resolve()
    for program in ["wrk", "nginx", "haproxy", "node", "taskset", doorward] + ([] if options.brief else [pacer]):
        if not shutil.which(str(program)):
            sys.exit(f"missing: {program}")

    folder = pathlib.Path(tempfile.mkdtemp(prefix="doorward-bench-"))
    running = []
    try:
        up = free_port()
        running.append(Process(1, upstream(folder, up), folder / "upstream.log"))
        ready(f"http://127.0.0.1:{up}/", running[0])
        streaming = free_port()
        if not options.brief:
            running.append(Process(1, [pacer, "upstream", streaming], folder / "streaming.log"))
        gateway = Gateway(folder, up, streaming, doorward, options.routes)
        if options.grants:
            gateway.add_grants(options.grants)
        running.append(gateway.process)
        with urllib.request.urlopen(f"http://localhost:{gateway.port}/.well-known/jwks.json") as answer:
            jwks = json.load(answer)
        proxies = {"direct": (up, None)}
        for name, command in [
            ("nginx", lambda port: nginx_proxy(folder, port, up)),
            ("haproxy", lambda port: haproxy(folder, "haproxy", port, up)),
            ("haproxy ES256", lambda port: haproxy(folder, "verifying", port, up, verifying(folder, jwks, gateway.token, gateway.url))),
        ]:
            if options.only and name not in options.only:
                continue
            port = free_port()
            process = Process(0, command(port), folder / f"{name}.log")
            running.append(process)
            ready(f"http://127.0.0.1:{port}/mcp/fixed", process)
            proxies[name] = (port, process)
        proxies["doorward"] = (gateway.port, gateway.process)

        host = f"localhost:{gateway.port}"
        rows = {name: {"rps": [], "cpu": [], "p50": [], "p99": []} for name in proxies}
        for name, (_, process) in proxies.items():
            rows[name]["idle"] = process.resident() if process else None
        for round_ in range(options.rounds + 1):
            for name, (port, process) in proxies.items():
                url = f"http://127.0.0.1:{port}/mcp/fixed"
                # The first round warms up and does not count.
                seconds = options.seconds if round_ else 1
                before = process.cpu() if process else 0
                requests, duration = wrk(folder, url, gateway.token, seconds, options.connections, host)
                used = process.cpu() - before if process else 0
                if not round_:
                    continue
                rows[name]["rps"].append(requests / duration)
                if process:
                    rows[name]["cpu"].append(used / requests * 1e6)
                if not options.brief:
                    told = pace(pacer, "calls", port, host, gateway.token, 500, options.seconds)
                    rows[name]["p50"].append(told["p50_us"])
                    rows[name]["p99"].append(told["p99_us"])
        if not options.brief:
            held = hold_streams(pacer, gateway, options.streams)
            gateway.first_answer()
            starts = [gateway.first_answer() for _ in range(5)]
            running.append(gateway.process)

        median = lambda values: statistics.median(values) if values else None
        show = lambda value, form="{:.0f}": "" if value is None else form.format(value)
        plain = median(rows.get("haproxy", {}).get("cpu", []))
        direct = rows["direct"]
        print(f"{options.connections} connections, median of {options.rounds} runs of {options.seconds} s; 500 calls/s for the latencies")
        form = "{:16}{:>10}{:>12}{:>12}{:>14}{:>14}{:>12}"
        print(form.format("", "calls/s", "CPU µs", "x haproxy", "added p50 ms", "added p99 ms", "idle MiB"))
        for name, row in rows.items():
            cpu = median(row["cpu"])
            added = lambda which: (median(row[which]) - median(direct[which])) / 1000 if row[which] and name != "direct" else None
            print(form.format(
                name, show(median(row["rps"])), show(cpu, "{:.1f}"), show(cpu / plain if cpu and plain else None, "{:.2f}"),
                show(added("p50"), "{:.3f}"), show(added("p99"), "{:.3f}"),
                show(row["idle"] / 2**20 if row["idle"] else None, "{:.1f}")))
        if not options.brief:
            print(f"doorward: {held:.1f} KiB for each of {options.streams} open streams")
            print(f"doorward: start to the first 200 with an existing store {statistics.median(starts):.0f} ms")
    finally:
        for process in reversed(running):
            process.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
