"""One JSON object a line on standard error, for the log collectors of a cluster; or plain text for people."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

# What a log record carries by itself; everything else on it was given by the caller and is logged as a field.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}
# Kopf puts whole objects on its records: bulky, and free text of users.
_BULKY: Final = frozenset({"settings", "k8s_ref", "k8s_skip"})


class JsonFormatter(logging.Formatter):
    """time, level, logger, message, the fields given as `extra`, and a traceback when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {
            name: value
            for name, value in vars(record).items()
            if name not in _STANDARD | _BULKY and not name.startswith("_")
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(level: str, style: str) -> None:
    """Send everything from `level` up to standard error; `style` is json or text."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if style == "json" else text)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Both tell of every request and every object; worth reading only when they complain.
    for name in ("kopf", "aiohttp", "kubernetes"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # It warns at every start that signals are not its business: they are ours.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
