"""A stand-in for an object store on a free loopback port, which counts what is read from it.

Of S3 it speaks what reading needs: HEAD, and GET of a range, in which objects can be replaced,
denied or cut off between any two requests.
"""

import hashlib
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"


class Request(NamedTuple):
    """One request: its method, the object, and the half-open range of the bytes sent."""

    method: str
    key: str
    start: int = 0
    stop: int = 0


class Bucket:
    """Objects by `bucket/key`, and the requests so far; `on_get` is called before each GET."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.denied: set[str] = set()
        self.requests: list[Request] = []
        self.on_get: Callable[[str], Any] = lambda key: None
        bucket = self

        class Handler(_Handler):
            store = bucket

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, key: str, content: bytes) -> None:
        self.objects[key] = content

    def read(self, key: str) -> list[Request]:
        """The GETs of an object so far."""
        return [r for r in self.requests if r.method == "GET" and r.key == key]


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a store on loopback the one that s3:// means, here and in processes that are started."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{endpoint}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)


def put(bucket: Bucket, key: str, path: Path) -> str:
    """Put a file into the store; its URI."""
    bucket.put(key, path.read_bytes())
    return f"s3://{key}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: Bucket

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self.store.on_get(self.path.lstrip("/"))
        self._answer()

    def _answer(self) -> None:
        key = self.path.lstrip("/")
        body = self.store.objects.get(key)
        if key in self.store.denied:
            self._refuse(403, "AccessDenied", key)
        elif body is None:
            self._refuse(404, "NoSuchKey", key)
        else:
            self._send(key, body)

    def _send(self, key: str, body: bytes) -> None:
        start, stop, status = 0, len(body), 200
        if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            start, stop, status = int(asked[1]), min(int(asked[2]) + 1, len(body)), 206
            if start >= len(body):
                self._refuse(416, "InvalidRange", key)
                return
        sent = stop if self.command == "GET" else start
        self.store.requests.append(Request(self.command, key, start, sent))
        self.send_response(status)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[start:stop])

    def _refuse(self, status: int, code: str, key: str) -> None:
        self.store.requests.append(Request(self.command, key))
        body = _ERROR.format(code=code).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not to stderr."""
