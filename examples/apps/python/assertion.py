"""An application that believes nobody: it verifies Doorward's signed assertion (identity_assertion: {enabled: true}).

    pip install 'pyjwt[crypto]'        # Debian: apt-get install python3-jwt python3-cryptography
    AUDIENCE=shop JWKS_URL=http://127.0.0.1:8080/.doorward/assertion/jwks.json python3 assertion.py
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

AUDIENCE = os.environ["AUDIENCE"]  # the `name` of the sidecar before this application
ISSUER = os.environ.get("ISSUER", "doorward")
KEYS = jwt.PyJWKClient(os.environ["JWKS_URL"], lifespan=60)


def claims_of(assertion):
    """The claims of a good assertion; raises jwt.PyJWTError for any other text."""
    # `typ` so that no other kind of token counts, `aud` so that an assertion for another application is none for us.
    if jwt.get_unverified_header(assertion).get("typ") != "assertion+jwt":
        raise jwt.InvalidTokenError("not an assertion")
    key = KEYS.get_signing_key_from_jwt(assertion).key
    return jwt.decode(
        assertion, key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER, options={"require": ["exp", "iss", "aud"]}
    )


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            claims = claims_of(self.headers.get("X-Auth-Assertion", ""))
            caller = {"subject": claims.get("sub"), "roles": claims.get("roles", [])}
            self.answer(200, {"path": self.path, "caller": caller})
        except jwt.PyJWTError:
            self.answer(401, {"error": "no valid assertion"})

    def answer(self, status, content):
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Application).serve_forever()
