// A real authorization server (oidc-provider) on loopback: client_credentials and token exchange (RFC 8693), resource indicators (RFC 8707),
// JWT access tokens. It reads one JSON file:
//   {"issuer": "http://127.0.0.1:9000", "keys": [private JWKs, the first signs], "ttl": seconds,
//    "clients": [{"client_id", "client_secret", "auth": "client_secret_basic", "claims": {...}}]}
// and writes one line per token request to standard output: "token <grant_type> <client_id> <resource or audience> <status>".
import {readFileSync} from 'node:fs';
import {createServer} from 'node:http';
import {Provider} from 'oidc-provider';
import {createLocalJWKSet, jwtVerify} from 'jose';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const publicKeys = createLocalJWKSet({keys: config.keys.map(({kty, n, e, crv, x, y, kid, alg, use}) => ({kty, n, e, crv, x, y, kid, alg, use}))});

const provider = new Provider(config.issuer, {
  clients: config.clients.map(c => ({
    client_id: c.client_id, client_secret: c.client_secret, token_endpoint_auth_method: c.auth ?? 'client_secret_basic',
    grant_types: ['client_credentials', EXCHANGE], response_types: [], redirect_uris: [],
  })),
  jwks: {keys: config.keys},
  scopes: ['mcp:tools'],
  features: {
    devInteractions: {enabled: false},
    clientCredentials: {enabled: true},
    resourceIndicators: {
      enabled: true, defaultResource: () => undefined, useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'mcp:tools', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: config.ttl ?? 300, jwt: {sign: {alg: 'RS256'}},
      }),
    },
  },
  extraTokenClaims: (ctx, token) => ({
    ...config.clients.find(c => c.client_id === token.clientId)?.claims,
    ...token.extra,
  }),
});

provider.registerGrantType(EXCHANGE, async ctx => {
  const {params, client} = ctx.oidc;
  let subject;
  try {
    subject = (await jwtVerify(params.subject_token, publicKeys, {issuer: config.issuer})).payload;
  } catch {
    ctx.status = 400;
    ctx.body = {error: 'invalid_grant', error_description: 'the subject token is not valid'};
    return;
  }
  const resource = params.resource ?? params.audience;
  const token = new provider.ClientCredentials({client, scope: 'mcp:tools'});
  token.resourceServer = new provider.ResourceServer(resource, {
    scope: 'mcp:tools', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: config.ttl ?? 300, jwt: {sign: {alg: 'RS256'}},
  });
  token.extra = {on_behalf_of: subject.sub ?? subject.client_id};
  ctx.body = {
    access_token: await token.save(), issued_token_type: 'urn:ietf:params:oauth:token-type:access_token', token_type: 'Bearer',
    expires_in: token.expiration, scope: 'mcp:tools',
  };
}, ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope'], ['audience', 'resource']);

provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === '/token') {
    const p = ctx.oidc?.params ?? {};
    console.log('token', p.grant_type, ctx.oidc?.client?.clientId, p.resource ?? p.audience ?? '-', ctx.status);
  }
});

const {hostname, port} = new URL(config.issuer);
const server = createServer(provider.callback());
server.listen(Number(port), hostname, () => console.log('ready'));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
