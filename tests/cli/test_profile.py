"""`sibyl profile` over a real pipeline, and over the real application under load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.sibyl import sibyl

QUESTION = "Which bird flies from pole to pole?"


def test_a_pipeline_run_is_shown_by_its_functions(command: Command, over_database: Path, documents: Path) -> None:
    ended = command("profile", "-f", over_database, "-p", "ingest", "--param", f"path={documents}", "--top", "200")
    assert ended.code == 0, ended.stderr
    head, _, columns, *rows, _, note, last = ended.stdout.splitlines()
    assert re.fullmatch(r"ingest, 1 run   \d+\.\d\d s   \d+\.\d\d s of processor time", head)
    assert columns.split() == ["TOTAL", "OWN", "FUNCTION", "FILE"]
    assert any("sibyl_runtime/pipeline/" in row for row in rows)
    assert "waiting included" in note
    assert last == "flame graph: profile.html"
    assert Path("profile.html").stat().st_size > 10_000
    asked = command("query", "-f", over_database, QUESTION)
    assert "Arctic tern" in asked.stdout, "the run was a real one"


def test_twenty_functions_are_shown_unless_told_otherwise(
    command: Command, over_database: Path, documents: Path
) -> None:
    assert command("ingest", "-f", over_database, documents).code == 0
    arguments = ("profile", "-f", over_database, "-p", "search", "--param", f"query={QUESTION}", "--repeat", "30")
    found = command(*arguments, "--json").json
    functions = found["profile"]["functions"]
    assert (found["work"], len(functions)) == ("search, 30 runs", 20)
    totals = [function["total"] for function in functions]
    assert totals == sorted(totals, reverse=True)
    assert len(command(*arguments, "--top", "3", "--json").json["profile"]["functions"]) == 3


@pytest.mark.parametrize("memory", [False, True], ids=["time", "memory"])
def test_a_service_under_load_is_watched_with_its_checks(
    over_database: Path, documents: Path, database_dsn: str, memory: bool
) -> None:
    """In a process of its own, as a user would."""
    protected = over_database.with_name("protected.yaml")
    protected.write_text(over_database.read_text() + 'mcp:\n  authentication: {type: api_key, keys: ["${KEY}"]}\n')
    environ = {"DATABASE_URL": database_dsn, "KEY": "alpha"}
    folder = over_database.parent
    assert sibyl("ingest", "-f", protected, documents, cwd=folder, environ=environ).code == 0
    arguments: list[str | Path] = ["profile", "-f", protected, "-q", QUESTION, "-q", "What is bread?", "--clients", "3"]
    arguments += ["--seconds", "1", "--top", "5000", "--json", "-o", "out.html", *(["--memory"] if memory else [])]
    ended = sibyl(*arguments, cwd=folder, environ=environ)
    assert ended.code == 0, ended.stderr
    found = ended.json
    assert re.fullmatch(r"search_documents, 3 clients, \d+ answers?", found["work"])
    profile = found["profile"]
    files = {function["file"] for function in profile["functions"]}
    assert "sibyl_runtime/server/tools.py" in files
    if memory:
        assert profile["kind"] == "bytes"
        assert 0 < profile["amount"] < 200_000_000
    else:
        assert "sibyl_runtime/server/protection/middleware.py" in files
        assert found["elapsed_seconds"] >= 1
    assert found["flame_graph"] == "out.html"
    assert (folder / "out.html").stat().st_size > 10_000


def test_what_the_service_refuses_is_told(command: Command, over_database: Path) -> None:
    ended = command("profile", "-f", over_database, "-q", "x", "--tool", "nope")
    assert ended.code == 1
    assert "the service answered 404" in ended.stderr
    assert 'There is no tool \\"nope\\"' in ended.stderr


def test_a_pipeline_or_an_output_that_is_not_there_is_told(command: Command, over_database: Path) -> None:
    ended = command("profile", "-f", over_database, "-p", "nope")
    assert (ended.code, "nope" in ended.stderr) == (1, True)
    ended = command("profile", "-f", over_database, "-q", "x", "-o", "nowhere/x.html")
    assert (ended.code, "there is no directory" in ended.stderr) == (1, True)


WRONG = [
    (["profile", "-f", "x"], "give one of them"),
    (["profile", "-f", "x", "-p", "search", "-q", "?"], "give one of them"),
    (["profile", "--pid", "1", "-q", "?"], "give one of them"),
    (["profile", "-q", "?"], "--file: is missing"),
    (["profile", "--pid", "1", "--memory"], "--memory: has no effect with --pid"),
    (["profile", "--pid", "1", "--seconds", "1.5"], "must be a whole number with --pid, found 1.5"),
    (["profile", "-f", "x", "-p", "search", "--clients", "2"], "--clients: has no effect with --pipeline"),
    (["profile", "-f", "x", "-q", "?", "--repeat", "2"], "--repeat: has no effect with --question"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: " ".join(value) if value else "")
def test_wrong_usage_is_told(command: Command, arguments: list[str], message: str) -> None:
    ended = command(*arguments)
    assert ended.code == 2
    assert message in ended.stderr
