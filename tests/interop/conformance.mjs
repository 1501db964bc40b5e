// The official conformance suite, judged.
//
//   node conformance.mjs authorization MCP_URL          every scenario passes at the origin and at the path issuer
//   node conformance.mjs server MCP_URL --direct URL --record NAME
//                                                       the result lines are those of a run straight at the upstream,
//                                                       and as good as conformance.json has them on record for NAME
//
// Consent stays on: robot.mjs is the person.
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { browse } from './robot.mjs';
import { discover, obtainToken, register } from './obtain_token.mjs';

const SUITE = 'node_modules/@modelcontextprotocol/conformance/dist/index.js';
const REVISIONS = ['2025-11-25', '2026-07-28'];
const CALLBACK_PORT = 3811;
/** What the gateway does itself for a server that does not: it turns strange Hosts away (CORS-6). */
const GUARDED = /^✓ dns-rebinding-protection: /;

const { positionals: [command, mcpUrl], values: { direct, record } } = parseArgs({
  allowPositionals: true,
  options: { direct: { type: 'string' }, record: { type: 'string' } },
});

/** Runs the suite; gives all it printed. `onOutput` sees the text so far. */
function suite(args, { env = {}, preload = [], onOutput = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...preload, SUITE, ...args], { env: { ...process.env, ...env } });
    const deadline = setTimeout(() => child.kill(), 300_000);
    let text = '';
    const take = (chunk) => { text += chunk; onOutput(text); };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', reject);
    child.on('close', () => { clearTimeout(deadline); resolve(text); });
  });
}

/** The lines of the summary: `✓ scenario: N passed, M failed`, with what differs between two runs taken out. */
function resultLines(text) {
  const [, summary] = text.split('=== SUMMARY ===');
  if (!summary) throw new Error(`the suite came to no summary:\n${text.slice(-2000)}`);
  return summary.split('\n').map((line) => line.trim()).filter((line) => /^[✓✗] \S+: \d+ passed/.test(line));
}

function totals(lines) {
  const counted = lines.map((line) => line.match(/(\d+) passed, (\d+) failed/).slice(1).map(Number));
  return { passed: counted.reduce((sum, [p]) => sum + p, 0), failed: counted.reduce((sum, [, f]) => sum + f, 0) };
}

async function authorization() {
  const { metadata } = await discover(mcpUrl);
  const redirectUri = `http://127.0.0.1:${CALLBACK_PORT}/callback`;
  const clientId = await register(metadata, redirectUri, 'Conformance suite');
  let failed = false;
  for (const issuer of [new URL(mcpUrl).origin, mcpUrl]) {
    let visited;
    const text = await suite(
      ['authorization', '--url', issuer, '--client-id', clientId, '--resource', mcpUrl, '--port', `${CALLBACK_PORT}`],
      {
        onOutput: (soFar) => {
          const ready = soFar.includes('Callback server started') && soFar.match(/^(https?:\/\/\S+response_type=\S+)$/m);
          if (ready && !visited) visited = browse(ready[1], { log: (line) => console.error(`  browser: ${line}`) });
        },
      });
    await visited;
    const lines = resultLines(text);
    const { passed, failed: bad } = totals(lines);
    const warned = /\bwarning/i.test(text);
    console.log(`authorization at ${issuer === mcpUrl ? 'the path issuer' : 'the origin'}: ${passed} passed, ${bad} failed${warned ? ', with warnings' : ''}`);
    if (bad || warned || passed < 2) {
      failed = true;
      console.log(text);
    }
  }
  return !failed;
}

async function server() {
  const recorded = JSON.parse(await readFile(new URL('conformance.json', import.meta.url)));
  let held = true;
  for (const revision of REVISIONS) {
    const straight = resultLines(await suite(['server', '--url', direct, '--requirements', revision]));
    const { accessToken } = await obtainToken(mcpUrl);
    const output = await suite(['server', '--url', mcpUrl, '--requirements', revision], {
      preload: ['--import', './inject.mjs'],
      env: { MCP_URL: mcpUrl, MCP_TOKEN: accessToken },
    });
    const through = resultLines(output);
    const guarded = through.filter((line) => GUARDED.test(line)).map((line) => line.split(':')[0].slice(2));
    const differing = straight.filter((line) => !through.includes(line) && !guarded.some((name) => line.includes(name)))
      .concat(through.filter((line) => !straight.includes(line) && !GUARDED.test(line)).map((line) => `through the gateway: ${line}`));
    const counts = totals(straight);
    const expected = recorded.server[record][revision];
    console.log(`server ${revision}: ${counts.passed} passed, ${counts.failed} failed, ${straight.length} scenarios (on record: ${expected.passed}, ${expected.failed}, ${expected.scenarios})`);
    if (differing.length > 0) {
      held = false;
      console.log(`differences:\n${differing.join('\n')}\n${output}`);
    }
    if (counts.passed !== expected.passed || counts.failed !== expected.failed || straight.length !== expected.scenarios) {
      held = false;
      console.log('the counts are not those on record in conformance.json');
    }
  }
  return held;
}

process.exitCode = (await (command === 'authorization' ? authorization() : server())) ? 0 : 1;
