# https://id.example.com/ is an issuer with discovery, and app.example.com leads to this machine; the reader's programs believe both.
mkdir .internet
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=example.com \
  -addext 'subjectAltName=DNS:id.example.com,DNS:app.example.com' -keyout .internet/key.pem -out .internet/certificate.pem 2> /dev/null
export NODE_EXTRA_CA_CERTS=$PWD/.internet/certificate.pem
printf '127.0.0.1 localhost app.example.com\n127.0.0.2 id.example.com\n' > .internet/hosts
mount --bind .internet/hosts /etc/hosts     # a page has a mount namespace of its own
cat > .internet/issuer.mjs <<'JS'
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
const documents = {
  '/.well-known/openid-configuration': { issuer: 'https://id.example.com/', jwks_uri: 'https://id.example.com/keys' },
  '/keys': { keys: [{ ...jwk, kid: 'one', alg: 'ES256', use: 'sig' }] },
};
const [cert, key] = ['certificate.pem', 'key.pem'].map((name) => readFileSync(new URL(name, import.meta.url)));
createServer({ cert, key }, ({ url }, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(documents[url] ?? {}));
}).listen(443, '127.0.0.2');
JS
node .internet/issuer.mjs &
until (: < /dev/tcp/127.0.0.2/443) 2> /dev/null; do sleep 0.1; done
