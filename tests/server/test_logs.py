"""Log lines: one per record, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from sibyl_runtime.server.logs import configure_logging
from sibyl_runtime.server.request import REQUEST_ID


@pytest.fixture(autouse=True)
def root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    collected = logging.logThreads, logging.logProcesses, logging.logMultiprocessing
    yield
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing = collected
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("httpx", "httpcore", "openai", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_json_is_one_object_a_line_with_fields_and_request_id() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    token = REQUEST_ID.set("r-1")
    logging.getLogger("sibyl.request").info("request", extra={"fields": {"status": 200, "path": "/a\nb"}})
    REQUEST_ID.reset(token)
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "info", "logger": "sibyl.request", "message": "request", "request_id": "r-1", "status": 200,
        "path": "/a\nb",
    }  # fmt: skip


def test_text_cannot_be_made_to_begin_a_line_of_its_own() -> None:
    stream = io.StringIO()
    configure_logging("info", "text", stream)
    logging.getLogger("sibyl").warning("first\nsecond", extra={"fields": {"path": "/x\r\nERROR forged"}})
    (line,) = stream.getvalue().splitlines()
    assert line[13:] == "WARNING first\\nsecond path=/x\\r\\nERROR forged"


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_logged_with_its_traceback(form: str) -> None:
    stream = io.StringIO()
    configure_logging("info", "json" if form == "json" else "text", stream)
    try:
        raise ValueError("the cause")
    except ValueError:
        logging.getLogger("sibyl").exception("failed")
    assert "ValueError: the cause" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == (1 if form == "json" else 5)


def test_below_the_level_nothing_is_logged_and_chatty_libraries_are_held_back() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    logging.getLogger("sibyl").debug("no")
    logging.getLogger("httpx").info("no")
    logging.getLogger("httpx").warning("yes")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["yes"]
