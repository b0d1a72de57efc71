"""The command line as such: help, version, wrong usage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.sibyl import environment, sibyl

HEAVY = ("fastapi", "uvicorn", "numpy", "onnxruntime", "openai", "psycopg", "pydantic", "rich", "yaml", "asyncio")


def test_help_loads_nothing_heavy() -> None:
    program = f"""
import sys
from sibyl_runtime.cli import main
try:
    main()
except SystemExit:
    print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], env=environment({}), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_documents_the_exit_codes(command: Command) -> None:
    shown = " ".join(command("--help").stdout.split())
    assert (
        "Exit codes: 0 done · 1 invalid workspace or bad input · 2 wrong usage · 3 cannot start, or something needed "
        "is unavailable · 4 done in part (something was skipped) · 5 a measure is below what was asked (eval) · "
        "130 interrupted"
    ) in shown


def test_the_version_is_printed(command: Command) -> None:
    assert command("--version").stdout == "sibyl 0.1.0\n"


WRONG: list[tuple[list[str], str]] = [
    (["serve"], "Missing option"),
    (["frobnicate"], "No such command 'frobnicate'"),
    (["query", "x"], "give one of them"),
    (["workspace", "validate"], "give the workspace document"),
    (["query", "x", "--url", "http://h", "--filter", "team"], '"team" is not NAME=VALUE'),
    (["query", "x", "--url", "http://h", "--filter", "a=1", "--filter", "a=2"], '"a" is given twice'),
    (
        ["serve", "-f", "x", "--port", "70000"],
        "Invalid value for '--port': Input should be less than or equal to 65535",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: " ".join(value) if value else "")
def test_wrong_usage_is_told_and_ends_with_2(command: Command, arguments: list[str], message: str) -> None:
    ended = command(*arguments)
    assert ended.code == 2
    assert message in ended.stderr


@pytest.mark.parametrize("option", ["-f", "-w", "--file", "--workspace"])
def test_the_document_can_be_given_under_every_name(command: Command, workspace: Path, option: str) -> None:
    assert command("pipeline", "list", option, workspace).code == 0


def test_a_reader_that_leaves_early_is_no_error(workspace: Path) -> None:
    program = f"{sys.executable} -c 'from sibyl_runtime.cli import main; main()' workspace show {workspace}"
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {program} | head -1"], env=environment({}), capture_output=True,
        text=True, check=True, cwd=workspace.parent,
    )  # fmt: skip
    assert done.stderr == ""


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    ended = sibyl("query", "-f", "missing.yaml", "x", cwd=tmp_path)
    assert ended.code == 1
    assert "Traceback" not in ended.stderr
    assert "missing.yaml" in ended.stderr


_INTERRUPTED_WHILE_LOADING = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "sibyl_runtime.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from sibyl_runtime.cli import main
main()
"""


def test_an_interruption_while_it_is_loading_is_told_without_a_traceback() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_WHILE_LOADING], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "sibyl: interrupted\n")
