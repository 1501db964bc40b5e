// An MCP server that knows who calls, because the gateway in front of it says so: `node server.js`.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express from 'express';
import { audience, requirePerson } from './identity.js';

const workosUrl = process.env.WORKOS_API_URL ?? 'https://api.workos.com';

/** A tool's answer, for programs and, as text, for models. */
const answer = (value) => ({
  content: [{ type: 'text', text: JSON.stringify(value) }],
  structuredContent: value,
});

function createServer() {
  const server = new McpServer({ name: 'identity-typescript', version: '1.0.0' });

  server.registerTool(
    'get-user-info',
    { description: 'Gives the profile of the person who signed in' },
    ({ authInfo: { extra: person } }) =>
      answer({
        sub: person.sub, // The gateway's id of the person: what to keep data by.
        user_id: person.user_id,
        name: person.name,
        email: person.email,
        email_verified: person.email_verified,
        picture: person.picture,
        organization_id: person.organization_id,
      }),
  );

  server.registerTool(
    'get-user-permissions',
    { description: 'Gives the roles, groups and permissions of the person who signed in' },
    ({ authInfo: { extra: person } }) =>
      answer({
        organization_id: person.organization_id,
        roles: person.roles,
        groups: person.groups,
        permissions: person.permissions,
      }),
  );

  server.registerTool(
    'get-workos-user',
    { description: 'Gives what WorkOS knows of the person who signed in' },
    async ({ authInfo: { extra: person } }) => {
      // The id is the verified caller's own. A tool that took it as an argument would show anybody to anybody.
      const response = await fetch(`${workosUrl}/user_management/users/${encodeURIComponent(person.user_id)}`, {
        headers: { authorization: `Bearer ${process.env.WORKOS_API_KEY}` },
        signal: AbortSignal.timeout(10_000),
      });
      // An error that a tool throws becomes a result with `isError`.
      if (!response.ok) throw new Error(`WorkOS answered ${response.status}`);
      return answer(await response.json());
    },
  );

  return server;
}

// The caller is known before anything of the body is read. A server without sessions keeps nothing of one caller that
// another could get at: each request has its own, and has brought its own assertion.
const app = express();
app.post(new URL(audience).pathname, requirePerson, async (request, response) => {
  const server = createServer();
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  response.on('close', () => {
    transport.close();
    server.close();
  });
  await server.connect(transport);
  await transport.handleRequest(request, response);
});
// There is no stream of its own, and no session to end.
app.all(new URL(audience).pathname, (_request, response) => {
  response.status(405).set('allow', 'POST').end();
});

const { HOST = '127.0.0.1', PORT = 3001 } = process.env;
app.listen(Number(PORT), HOST, () => console.log(`MCP server at ${audience}`));
