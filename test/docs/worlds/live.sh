# A Doorward of the reader's at https://app.example.com (world `internet`), and a token that it accepts.
cat > .internet/live.yaml <<'YAML'
version: 1
name: live
state_dir: .live
proxy:
  listen: 127.0.0.1:443
  tls: {certificates: [{certificate: {file: certificate.pem}, key: {file: key.pem}}]}
  bad_tokens: 1000/1m     # not the default: the page is not to wait for it
admin: {listen: "off"}
upstreams: {app: {url: "http://127.0.0.1:3000"}}
issuers: {self: {issuer: "https://app.example.com", audience: [api], sign: {}}}
routes: {healthz: {match: {path: /healthz}, auth: none}, api: {match: {prefix: /api}}}
YAML
doorward run --config .internet/live.yaml > .internet/log &
until (: < /dev/tcp/127.0.0.1/443) 2> /dev/null; do sleep 0.1; done
doorward token issue --config .internet/live.yaml --subject alice > token
