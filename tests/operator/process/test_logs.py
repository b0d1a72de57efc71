"""Logs: one JSON object a line, with the fields that were given and no bulk."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from sibyl_operator.process.logs import JsonFormatter, configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    for name in ("kopf", "kopf._core.reactor.running", "aiohttp", "kubernetes"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def record(message: str = "applied %s", **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("sibyl", logging.WARNING, "x.py", 1, message, ("Service",), None)
    vars(made).update(fields)
    return made


def test_a_record_is_one_line_of_json_with_its_fields() -> None:
    line = json.loads(JsonFormatter().format(record(workspace="team/demo", k8s_ref={"big": 1}, settings=object())))
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "warning", "logger": "sibyl", "message": "applied Service", "workspace": "team/demo"}


def test_a_failure_brings_its_traceback_on_the_same_line() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        text = JsonFormatter().format(record(exc_info=(ValueError, error, error.__traceback__)))
    assert "\n" not in text
    assert json.loads(text)["traceback"].endswith("ValueError: a\nb")


@pytest.mark.parametrize(("style", "start"), [("json", '{"time"'), ("text", "20")])
def test_logging_goes_to_standard_error_in_the_chosen_style(
    capsys: pytest.CaptureFixture[str], style: str, start: str
) -> None:
    configure_logging("INFO", style)
    logging.getLogger("sibyl").info("here")
    logging.getLogger("sibyl").debug("not here")
    logging.getLogger("kopf.objects").info("nor here")
    shown = capsys.readouterr().err
    assert shown.startswith(start)
    assert "here" in shown
    assert "not here" not in shown
    assert "nor here" not in shown
