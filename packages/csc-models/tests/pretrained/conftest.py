"""A web server of this machine that cuts connections, forgets ranges or changes its file, as it is told."""

import hashlib
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        trouble = server.troubles.pop(0) if server.troubles else {}
        if "status" in trouble:
            self.send_response(trouble["status"])
            for name, value in trouble.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        etag = f'"{hashlib.md5(data).hexdigest()}"'  # as S3 does
        begin = self._begin(etag) if server.ranges else 0
        if begin >= len(data) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("ETag", etag)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", trouble.get("etag", etag))
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        body = data[begin:]
        self.wfile.write(body[: trouble.get("cut", len(body))])
        self.wfile.flush()
        if "cut" in trouble:
            self.close_connection = True
            if trouble.get("reset"):
                # Closing a socket that lingers for no time sends a reset instead of an end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _begin(self, etag):
        asked = self.headers.get("Range", "")
        if not asked or self.headers.get("If-Range") != etag:
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def version_string(self):
        return "AmazonS3"

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # joined when the server is closed: no thread outlives a test

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.requests, self.troubles, self.ranges = {}, [], [], True
        self.scheme = "http"
        if context is not None:
            self.scheme = "https"
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def address(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        """A client that does not trust the certificate hangs up; that is its right."""


@pytest.fixture
def serve():
    """Start servers; they are stopped at the end of the test."""
    running = []

    def start(context=None):
        server = _Server(context)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(serve):
    return serve()
