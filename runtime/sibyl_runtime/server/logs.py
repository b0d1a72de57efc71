"""Structured log lines on stderr: one JSON object a line for machines, or text for people, each with its request id."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import IO, Any, Literal

import orjson

from sibyl_runtime.server.request import REQUEST_ID
from sibyl_runtime.tracing import TRACE_ID

Format = Literal["json", "text"]


class JsonFormatter(logging.Formatter):
    """time, level, logger, message, request_id, trace_id of a call that is traced, then the record's own fields and
    the exception."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; line breaks inside values are escaped by JSON."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = REQUEST_ID.get()
        if request_id is not None:
            line["request_id"] = request_id
        trace_id = TRACE_ID.get()
        if trace_id is not None:
            line["trace_id"] = trace_id
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """`03:04:05.678 INFO  request method=POST ... request_id=...`; the exception follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the lines of an exception."""
        fields = dict(getattr(record, "fields", {}))
        request_id = REQUEST_ID.get()
        if request_id is not None:
            fields["request_id"] = request_id
        pairs = "".join(f" {name}={_plain(value)}" for name, value in fields.items())
        line = f"{_time(record)[11:23]} {record.levelname:<5} {_plain(record.getMessage())}{pairs}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logging(level: str, form: Format, stream: IO[str] | None = None) -> None:
    """Send every log line of the process to `stream` (stderr). `level` is debug, info, warning or error."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # No format shows these, and to find them out takes as long as to write the line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Libraries that tell every step at INFO: their warnings are enough.
    for chatty in ("httpx", "httpx2", "httpcore", "httpcore2", "mcp", "openai", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: object) -> str:
    """Text that cannot start a line of its own."""
    return str(value).replace("\n", "\\n").replace("\r", "\\r")
