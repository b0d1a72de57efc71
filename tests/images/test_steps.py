from __future__ import annotations

from pathlib import Path

import pytest

from e2e.images.errors import ImageError
from e2e.images.steps import run_step


def test_a_step_writes_its_log_and_tells_its_progress(tmp_path: Path) -> None:
    told: list[str] = []
    run_step("saying hello", ["sh", "-c", "echo hello"], log=tmp_path / "log", progress=told.append)
    assert (tmp_path / "log").read_text() == "hello\n"
    assert told[0] == "saying hello, started"


def test_a_step_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^saying hello failed \(exit code 3\); it said last:\nno voice$"):
        run_step(
            "saying hello", ["sh", "-c", "echo no voice; exit 3"], log=tmp_path / "log", progress=lambda _line: None
        )
