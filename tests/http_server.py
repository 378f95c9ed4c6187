"""A web server on this machine that hands out a folder and misbehaves on demand."""

from __future__ import annotations

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class Server:
    """Files of a folder over HTTP. faults: per file name part, a list of what to do next."""

    def __init__(self, root: Path) -> None:
        self.root, self.asked, self.faults = root, Counter(), {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *words):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/data/"
        self.release = threading.Event()
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        remote = unquote(handler.path).removeprefix("/data/")
        self.asked[remote] += 1
        fault = next(
            (todo for part, todo in self.faults.items() if part in remote and todo), [None]
        )
        fault = fault.pop(0)
        path = self.root / remote
        if fault == "hang":
            self.release.wait(10)
        if isinstance(fault, int) or not path.is_file():
            handler.send_error(fault or 404)
            return
        content = fault if isinstance(fault, bytes) else path.read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

    def close(self) -> None:
        self.release.set()
        self.http.shutdown()
        self.http.server_close()
