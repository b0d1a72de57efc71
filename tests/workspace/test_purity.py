"""The contract is for both programs: it may need nothing that one of them has not."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import sibyl_runtime.workspace

PACKAGE = Path(sibyl_runtime.workspace.__file__).parent
ALLOWED = {"jinja2", "pydantic", "pydantic_core", "yaml"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def test_nothing_is_imported_but_jinja_pydantic_yaml_and_the_standard_library() -> None:
    foreign = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in PACKAGE.rglob("*.py")
        for name in imported(path)
        if name.partition(".")[0] not in ALLOWED | sys.stdlib_module_names
        and not name.startswith("sibyl_runtime.workspace")
    }
    assert foreign == set()


def test_every_exported_name_is_there_once() -> None:
    names = sibyl_runtime.workspace.__all__
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(sibyl_runtime.workspace, name)] == []
