"""The table of docs/guide-coverage.md: what each test of this folder says that it shows, and of which block.

`python -m tests.guide.table` writes the page. Neither that nor the table needs the guide itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

PAGE = Path(__file__).parents[2] / "docs" / "guide-coverage.md"
MODULES = (
    "test_cluster_blocks", "test_ingest_blocks", "test_model_blocks", "test_refused_blocks", "test_reranking_blocks",
    "test_retrieval_blocks", "test_serving_blocks", "test_store_blocks", "test_cache_blocks",
    "test_cache_blocks_semantic", "test_cache_blocks_warming",
)  # fmt: skip
INTRODUCTION = """# Coverage of the performance guide

This page is generated from the tests in `tests/guide` by `make generate`. Each row is one YAML block of the guide, by
the line at which it begins; of a block that shows a setting before and after, each half has its own. The test reads the
block from the guide, adds what it leaves out (a database, the address of a model's server), runs it through the runtime
with real parts, and asserts the effect. What this version refuses is refused by name, with the message given here.
"""
_SHOWN = "guide_rows"
Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True)
class Row:
    """What one test shows of one block. `part` counts the halves of a block; `refused` are the messages, if any."""

    line: int
    part: int
    sets: str
    effect: str
    refused: tuple[str, ...] = ()
    test: str = ""

    @property
    def place(self) -> str:
        """The block as the table names it."""
        return str(self.line) if self.part == 0 else f"{self.line}, {('first', 'second')[self.part - 1]} half"


def shows(line: int, *, part: int = 0, sets: str, effect: str) -> Callable[[Test], Test]:
    """Marks a test with a row of the table. `part` is 1 or 2 in a block of two halves."""
    return told_by(Row(line, part, sets, effect))


def told_by(*told: Row) -> Callable[[Test], Test]:
    """Marks a test with rows of the table."""

    def marked(test: Test) -> Test:
        named = [replace(row, test=test.__name__) for row in told]
        setattr(test, _SHOWN, [*named, *rows_of(test)])
        return test

    return marked


def rows() -> list[Row]:
    """Every row, in the order of the guide."""
    modules = {name: importlib.import_module(f"tests.guide.{name}") for name in MODULES}
    tests = [(name, value) for name, module in modules.items() for value in vars(module).values()]
    found = [replace(row, test=f"{name}.py::{row.test}") for name, test in tests for row in rows_of(test)]
    return sorted(found, key=lambda row: (row.line, row.part, row.test))


def rows_of(test: object) -> list[Row]:
    """The rows that a test is marked with."""
    marked: list[Row] = getattr(test, _SHOWN, [])
    return marked


def page() -> str:
    """The whole page."""
    lines = ["| line | sets | effect | test in `tests/guide` |", "|---|---|---|---|"]
    for row in rows():
        lines.append(f"| {row.place} | {row.sets} | {_effect(row)} | `{row.test}` |")
    return f"{INTRODUCTION}\n" + "\n".join(lines) + "\n"


def _effect(row: Row) -> str:
    messages = "; ".join(f"`` {message} ``" if "`" in message else f"`{message}`" for message in row.refused)
    if not messages:
        return row.effect
    return "Refused by name in this version: " + messages + (f". {row.effect}" if row.effect else "")


if __name__ == "__main__":
    PAGE.write_text(page())
