// Who calls, according to the gateway: verifies the header `X-Doorward-Assertion`.
import { createRemoteJWKSet, jwtVerify } from 'jose';

/** The gateway's origin: what `iss` holds. */
const issuer = process.env.DOORWARD_ISSUER ?? 'http://localhost:9000';
/** This server's URL as `rewritePattern` has it, without a query: what `aud` holds. */
export const audience = process.env.MCP_URL ?? 'http://127.0.0.1:3001/mcp';

// Keeps the keys, and asks again for one that it does not know: that is how a rotation arrives.
const keys = createRemoteJWKSet(new URL(process.env.DOORWARD_JWKS_URL ?? `${issuer}/.well-known/jwks.json`));

/** The claims of a good assertion; throws for any other. */
export async function verifyAssertion(assertion) {
  const { payload } = await jwtVerify(assertion, keys, {
    issuer,
    audience,
    typ: 'doorward-assertion+jwt', // An access token is signed by the same keys, and is none.
    algorithms: ['ES256', 'EdDSA'],
    requiredClaims: ['sub', 'client_id', 'exp'],
    clockTolerance: 5, // Seconds. An assertion lives for 60.
  });
  return payload;
}

/** Express middleware: a request has a person, or gets 401. Tools find the claims as `authInfo.extra`. */
export async function requirePerson(request, response, next) {
  const assertion = request.get('x-doorward-assertion') ?? '';
  try {
    const person = await verifyAssertion(assertion);
    request.auth = {
      token: assertion,
      clientId: person.client_id,
      scopes: person.scope?.split(' ') ?? [],
      expiresAt: person.exp,
      extra: person,
    };
  } catch (error) {
    console.error(`refused an assertion: ${error.code ?? error.message}`);
    return response.status(401).json({ error: 'a valid X-Doorward-Assertion is needed' });
  }
  next();
}
