"""How results look, and how values are read from the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sibyl_runtime.cli.arguments import name_values
from sibyl_runtime.cli.output import answer_lines, cost, plural, print_json, source_line, table, timing_line


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [(None, "cost not known"), (0.0, "$0.00"), (0.00012, "$0.000120"), (0.01, "$0.01"), (1.5, "$1.50")],
)
def test_a_cost_keeps_the_digits_that_matter(dollars: float | None, shown: str) -> None:
    assert cost(dollars) == shown


@pytest.mark.parametrize(("number", "shown"), [(0, "0 files"), (1, "1 file"), (1200, "1,200 files")])
def test_a_count_agrees_with_its_noun(number: int, shown: str) -> None:
    assert plural(number, "file") == shown


def test_the_timing_line() -> None:
    metadata = {
        "stages": {"embed_ms": 2.14, "retrieve_ms": 0.9, "generate_ms": 1.2}, "cache": "miss",
        "execution_time_ms": 5.04, "cost_usd": 0.0,
    }  # fmt: skip
    assert timing_line(metadata) == "embed 2.1 ms · retrieve 0.9 ms · generate 1.2 ms · total 5.0 ms · $0.00"
    hit = metadata | {"stages": {}, "cache": "hit"}
    assert timing_line(hit) == "from the cache · total 5.0 ms · $0.00"


def test_a_source_without_a_document_shows_its_title() -> None:
    assert source_line(2, {"title": "Database", "content": "", "score": 0.707}) == "[2] Database  0.71"


def test_no_sources_lead_to_the_command_that_makes_some() -> None:
    metadata = {"stages": {}, "cache": "off", "execution_time_ms": 1.0, "cost_usd": None}
    lines = answer_lines({"output": {"answer": None, "sources": []}, "metadata": metadata})
    assert lines[:3] == ["(no answer)", "", "no sources found: are documents ingested? (sibyl ingest -f FILE PATH)"]


def test_columns_are_aligned() -> None:
    assert table([("A", "B"), ("long", "x")]) == ["A     B", "long  x"]


def test_what_json_does_not_know_becomes_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"of": {1: (1, 2)}, "path": pytest})
    assert json.loads(capsys.readouterr().out)["of"] == {"1": [1, 2]}


VALUES: list[tuple[str, Any]] = [
    ("k=5", 5),
    ("k=0.5", 0.5),
    ("k=true", True),
    ("k=null", None),
    ("k=text", "text"),
    ("k=007", "007"),
    ("k=NaN", "NaN"),
    ('k="5"', "5"),
    ("k=", ""),
    ("k=a=b", "a=b"),
    ('k={"a": [1]}', {"a": [1]}),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_a_value_is_json_where_it_can_be(text: str, value: Any) -> None:
    assert name_values([text], option="--param") == {"k": value}


def test_what_would_steer_a_terminal_stands_as_it_is_written() -> None:
    source = {"document": "a\nb", "title": "", "heading": "\x1b[31m", "score": 0.5}
    metadata = {"stages": {}, "cache": "miss", "execution_time_ms": 1.0, "cost_usd": 0.0}
    lines = answer_lines({"output": {"answer": "é\x1b]0;x\x07\nnext", "sources": [source]}, "metadata": metadata})
    assert lines[0] == "é\\x1b]0;x\\x07\nnext"
    assert lines[2] == "[1] a\\nb § \\x1b[31m  0.50"
