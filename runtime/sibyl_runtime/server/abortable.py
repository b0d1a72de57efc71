"""A connection that can be given up while its client does not read.

Closing a connection politely waits until everything written has been read, which may be never. ASGI has no other way
to end one, so the way is handed to the application in the scope.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ABORT = "sibyl.abort"


class AbortableHttp(HttpToolsProtocol):
    """uvicorn's protocol, with a function under `scope["extensions"][ABORT]` that drops the connection at once."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: self.transport.abort}  # type: ignore[dict-item]  # types of ASGI know two
