// An OpenID Connect provider on 127.0.0.1 for the tests: npm `oidc-provider`, certified by the OpenID Foundation, as
// tests/setup installs it. Its signing key is made at every start.
//
//   node tests/oidc-provider.mjs MODULES PORT [token-claims] [short-codes]
//
// `token-claims` puts claims into the ID token, otherwise they are at the userinfo endpoint alone. `short-codes` lets codes
// expire after a second. Anybody signs in with any password; the login `ada` is ada@corp.example.
import { generateKeyPairSync } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [modules, port, ...words] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'vestibule',
    client_secret: 'the-secret-of-the-client',
    redirect_uris: ['https://127.0.0.1:8443/warp/oidc/callback'],
  }],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'department'], groups: ['groups'] },
  conformIdTokenClaims: !words.includes('token-claims'),
  pkce: { required: () => true },
  cookies: { keys: ['only for tests'] },
  ttl: { AuthorizationCode: words.includes('short-codes') ? 1 : 60, Grant: 600, Interaction: 600, Session: 600, IdToken: 600, AccessToken: 600 },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: id.toUpperCase(),
      email: `${id}@corp.example`,
      email_verified: id !== 'unverified',
      department: id === 'ada' ? 'research' : 'sales',
      groups: id === 'ada' ? ['admins', { id: '7', name: 'Developers' }] : ['guests'],
    }),
  }),
});
provider.listen(Number(port), '127.0.0.1', () => console.log(`ready at ${port}`));
