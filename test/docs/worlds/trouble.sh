# For the runbook: a replica with everything (TLS, Redis, PostgreSQL, an application), and a request that was refused.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=app.example.com \
  -addext 'subjectAltName=DNS:app.example.com,DNS:auth.example.com' -keyout app.key -out app.pem 2> /dev/null
redis-server --port 6379 --maxmemory 64mb --maxmemory-policy noeviction --save '' > /dev/null &
export REDIS_URL=redis://127.0.0.1:6379
export DOORWARD_KEK=$(openssl rand -base64 32)
PORT=3000 node doorward/examples/apps/node/headers.mjs &
cat > sidecar.yaml <<'YAML'
version: 1
name: shop
proxy: {tls: {certificates: [{certificate: {file: app.pem}, key: {file: app.key}}]}, drain: {delay: 0s}}
upstreams: {app: {url: "http://127.0.0.1:3000"}}
issuers: {self: {issuer: "https://auth.example.com", audience: [api], sign: {}}}
limits: {per_client: {key: client, rate: 1000/1h}}
defaults: {limits: [per_client]}
routes: {api: {match: {prefix: /api}}, all: {match: {prefix: /}, require: {scopes: [read]}}}
redis: {url: {env: REDIS_URL}, timeout: 2s}
postgres: {url: {env: DATABASE_URL}}
sealing: {kek: {key: {env: DOORWARD_KEK}}}
YAML
doorward run > doorward.log &
curl -s --retry 60 --retry-delay 1 --retry-connrefused -o /dev/null http://127.0.0.1:9902/readyz
REQUEST_ID=$(curl -s --cacert app.pem --connect-to app.example.com:443:127.0.0.1:8080 https://app.example.com/api | jq -r .request_id)
test -n "$REQUEST_ID"
PLACEHOLDERS=REQUEST_ID
