// WorkOS's own emulator with two people. Prints one JSON line {url, apiKey} and serves until stdin closes.
//
//   node emulator.mjs [PORT]
import { createEmulator } from 'workos/emulate';

const emulator = await createEmulator({
  port: Number(process.argv[2] ?? 0),
  seed: {
    users: [
      { email: 'ada@example.com', first_name: 'Ada', last_name: 'Byron', email_verified: true, password: 'analytical' },
      { email: 'bob@example.com', first_name: 'Bob', last_name: 'Kahn', email_verified: true, password: 'packets' },
    ],
  },
});
console.log(JSON.stringify({ url: emulator.url, apiKey: emulator.apiKey }));
process.stdin.resume();
process.stdin.on('end', async () => { await emulator.close(); process.exit(0); });
