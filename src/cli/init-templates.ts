// The files that `doorward init` writes. Short, commented, and accepted by `check` as they are.

const OWN_ISSUER = `  self:
    issuer: "http://doorward.localhost"   # put your own https:// name here; every token carries it
    audience: [api]
    sign: {}                              # makes it ours: \`doorward token issue\` works, the key is made in state_dir
`;

/** sidecar.yaml; `issuerBlock` is the block under \`issuers\`, ours by default. */
export function sidecarTemplate(upstream: string, issuerBlock: string = OWN_ISSUER): string {
  return `# Doorward: what stands before the application. \`doorward check\` says whether it holds and prints the routes.
version: 1

proxy:
  listen: 0.0.0.0:8080
  # trusted_proxies: [10.0.0.0/8]         # nginx or ingress in front: whose X-Forwarded-For is believed

upstreams:
  app: {url: ${JSON.stringify(upstream)}}

issuers:
${issuerBlock}
limits:
  per_ip: {key: ip, rate: 300/1m}
  per_client: {key: client, rate: 1000/1h}

defaults: {limits: [per_ip, per_client]}

routes:
  # health: {match: {path: /healthz, methods: [GET]}, auth: none, limits: []}
  # read: {match: {prefix: /api, methods: [GET]}, require: {scopes: [read]}}
  all: {match: {prefix: /}}               # everything else needs a token

# Shared by all replicas. Without it revocations and limits live and die with this one process.
# name: my_app
# redis: {url: {env: REDIS_URL}}
`;
}

/** .env.example: every variable that the template refers to, without a value that anybody could forget to change. */
export const envTemplate = `# Copy to .env, fill in, and keep it out of version control.
# Any scalar of sidecar.yaml can be set: two underscores first and between levels.
#DOORWARD__PROXY__LISTEN=0.0.0.0:8080
#DOORWARD__LOG__LEVEL=info
# Read where sidecar.yaml says {env: REDIS_URL}; rediss:// for TLS.
#REDIS_URL=
`;
