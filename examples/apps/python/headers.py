"""An application that believes Doorward's headers. Nobody else can reach it: it listens on loopback, beside Doorward.

    python3 headers.py
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


def text_of(value):
    return None if value is None else unquote(value)


def list_of(value, separator):
    """Elements are percent-encoded where they are not plain ASCII, so split first and decode then."""
    return [unquote(element) for element in (value or "").split(separator) if element]


def caller_of(headers):
    """Who is calling; None for requests without a token (routes with `auth: optional` or `none`)."""
    if headers.get("X-Auth-Issuer") is None:
        return None
    return {
        "subject": text_of(headers.get("X-Auth-Subject")),
        "issuer": text_of(headers.get("X-Auth-Issuer")),
        "client": text_of(headers.get("X-Auth-Client")),
        "tenant": text_of(headers.get("X-Auth-Tenant")),
        "scopes": list_of(headers.get("X-Auth-Scopes"), " "),
        "roles": list_of(headers.get("X-Auth-Roles"), ","),
    }


class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        caller = caller_of(self.headers)
        may_write = caller is not None and "write" in caller["scopes"]
        body = json.dumps({"path": self.path, "caller": caller, "may_write": may_write}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Application).serve_forever()
