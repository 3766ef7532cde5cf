"""A stand-in for an S3-compatible store: it keeps objects of one bucket and checks every signature by itself.

The signature is version 4 as Amazon documents it ("Authenticating Requests: Using Query Parameters" and "Using the
Authorization Header" of the S3 API reference), computed here from the request alone.
"""

import hashlib
import hmac
import threading
import urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY_ID, KEY = "AKIDOFATEST", "a-secret-key-of-a-test"


def _signing_key(date, region):
    found = f"AWS4{KEY}".encode()
    for word in (date, region, "s3", "aws4_request"):
        found = hmac.digest(found, word.encode(), "sha256")
    return found


def _signature(request, query, signed, scope, at, payload):
    path, _, _ = request.path.partition("?")
    pairs = sorted((urllib.parse.quote(k, safe="-_.~"), urllib.parse.quote(v, safe="-_.~")) for k, v in query)
    lines = [request.command, path, "&".join(f"{k}={v}" for k, v in pairs)]
    lines += [f"{name}:{' '.join((request.headers[name] or '').split())}" for name in signed]
    canonical = "\n".join([*lines, "", ";".join(signed), payload])
    text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    _, date, region, _, _ = f"x/{scope}".split("/")
    return hmac.new(_signing_key(date, region), text.encode(), "sha256").hexdigest()


def signed_well(request):
    """Whether a request carries the signature that its content demands."""
    query = urllib.parse.parse_qsl(request.path.partition("?")[2], keep_blank_values=True)
    told = dict(query)
    if "X-Amz-Signature" in told:
        credential, _, scope = told["X-Amz-Credential"].partition("/")
        rest = [pair for pair in query if pair[0] != "X-Amz-Signature"]
        signed = told["X-Amz-SignedHeaders"].split(";")
        made = _signature(request, rest, signed, scope, told["X-Amz-Date"], "UNSIGNED-PAYLOAD")
        return credential == KEY_ID and hmac.compare_digest(made, told["X-Amz-Signature"])
    words = dict(
        part.strip().split("=", 1)
        for part in request.headers.get("Authorization", " ").split(" ", 1)[1].split(",")
        if part
    )
    if not words:
        return False
    credential, _, scope = words["Credential"].partition("/")
    payload, at = request.headers["x-amz-content-sha256"], request.headers["x-amz-date"]
    made = _signature(request, query, words["SignedHeaders"].split(";"), scope, at, payload)
    return credential == KEY_ID and hmac.compare_digest(made, words["Signature"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _do(self):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = urllib.parse.unquote(self.path.partition("?")[0])
        objects = self.server.objects
        if not signed_well(self):
            self._answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        elif self.command == "PUT":
            objects[name] = data
            self._answer(200, ETag='"x"')
        elif self.command == "DELETE":
            objects.pop(name, None)
            self._answer(204)
        elif name not in objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            first, _, last = (self.headers.get("Range") or "bytes=-").removeprefix("bytes=").partition("-")
            part = objects[name][int(first or 0) : int(last) + 1 if last else None]
            span = f"bytes {int(first or 0)}-{int(first or 0) + len(part) - 1}/{len(objects[name])}"
            self._answer(206 if first else 200, part, ETag='"x"', **({"Content-Range": span} if first else {}))

    do_GET = do_HEAD = do_PUT = do_DELETE = _do


@contextmanager
def object_store():
    """A running store: `objects` by path, `url` its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.objects = {}
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
