"""A server that answers single calls late, at great length, or never. The model's name says which."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

SIZES = {"large": 20 * 2**20, "endless": 70 * 2**20}


class _Slow(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        model = self.path.rpartition("/")[2].partition(":")[0]
        if model == "silent":
            self.server.released.wait(60)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        with suppress(ConnectionError):
            if model == "late":
                self.wfile.flush()
                time.sleep(0.6)
                self.wfile.write(b'{"text": "late"}')
            else:
                self.wfile.write(b'{"text": "' + b"x" * SIZES[model] + b'"}')

    def log_message(self, *args):
        return


@contextmanager
def slow_server():
    """Its base URL, for the length of a block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    server.released = Event()
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
