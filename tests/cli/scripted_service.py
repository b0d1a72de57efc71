"""A service that answers over real HTTP as a test says: for what a real one does not do on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SETTINGS: dict[str, Any] = {
    "pipeline": "ingest",
    "load": {"pattern": "**/*"},
    "limits": {"documents": 1000, "bytes": 10_000_000, "seconds": 300.0},
}
REPORT: dict[str, Any] = {
    "documents": 0, "chunks": 0, "unchanged": 0, "replaced": 0, "removed": 0, "seconds": 1.0, "skipped": [],
    "copies": {},
}  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """One answer; `drop` closes the connection without one."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False


def refusal(status: int, code: str, message: str = "no", **headers: str) -> Reply:
    """An error in the documented shape."""
    body = {"error": {"code": code, "message": message, "details": {}}, "request_id": "r"}
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


class ScriptedService:
    """Answers the settings, and each POST: first with `replies` in order, then as `answer` does."""

    def __init__(self) -> None:
        self.settings: Reply = Reply(body=SETTINGS)
        self.replies: list[Reply] = []
        self.most_bytes: int | None = None
        """A proxy's limit of a body; None for none."""
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.sizes: list[int] = []
        self.url = ""

    def stored(self) -> list[str]:
        """The ids of all documents received, in order."""
        return [document["id"] for _, body in self.received for document in body.get("documents", ())]

    def pruned(self) -> list[dict[str, Any]]:
        """What was asked of /documents/prune."""
        return [body for path, body in self.received if path == "/documents/prune"]

    def answer(self, path: str, raw: bytes) -> Reply:
        """To one POST."""
        self.sizes.append(len(raw))
        if self.replies:
            return self.replies.pop(0)
        if self.most_bytes is not None and len(raw) > self.most_bytes:
            return Reply(413, "<html>Request Entity Too Large</html>")
        body = json.loads(raw)
        self.received.append((path, body))
        number = len(body.get("documents", ()))
        return Reply(body={**REPORT, "documents": number, "chunks": number})


@contextmanager
def scripted_service(replies: Sequence[Reply] = ()) -> Iterator[ScriptedService]:
    """On a free port of 127.0.0.1."""
    service = ScriptedService()
    service.replies = list(replies)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(service.settings)

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(service.answer(self.path, raw))

        def _send(self, reply: Reply) -> None:
            if reply.drop:
                self.close_connection = True
                return
            content = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
