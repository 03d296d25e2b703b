# A file of the reader's own that is fit for production, in a clone.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signing-key.pem
cat > sidecar.yaml <<'YAML'
version: 1
name: shop
proxy: {drain: {delay: 0s}}
upstreams: {app: {url: "http://127.0.0.1:3000"}}
issuers: {self: {issuer: "https://auth.example.com", audience: [api], sign: {key: {file: signing-key.pem}}}}
routes: {all: {match: {prefix: /}}}
redis: {url: {env: REDIS_URL}, timeout: 2s}
YAML
