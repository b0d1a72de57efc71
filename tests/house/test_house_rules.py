"""The rules of this house that no linter knows."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 500
LONGEST_FUNCTION = 60
PACKAGES = ("operator/sibyl_operator", "runtime/sibyl_runtime")


def sources(*folders: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *(f"{f}/*.py" for f in folders)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_there_are_sources_to_judge() -> None:
    assert len(sources(*PACKAGES)) > 50


def test_no_file_is_too_long_to_keep_in_mind() -> None:
    lengths = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for path in sources(*PACKAGES, "tests", "e2e", "bench")
    }
    assert {str(path): n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_too_long_to_read() -> None:
    too_long = {}
    for path in sources(*PACKAGES):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    too_long[f"{path.relative_to(ROOT)}:{node.name}"] = length
    assert too_long == {}


@pytest.mark.parametrize("folder", PACKAGES)
def test_every_module_says_why_it_exists(folder: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(folder)
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_the_operator_folder_is_no_package() -> None:
    """An __init__.py there would shadow the standard module `operator` and break `python -m`."""
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_only_kube_uses_the_kubernetes_client_and_only_handlers_uses_kopf() -> None:
    users: dict[str, set[str]] = {"kubernetes": set(), "kopf": set()}
    for path in sources("operator/sibyl_operator"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if (top := name.split(".")[0]) in users:
                    users[top].add(path.relative_to(ROOT / "operator/sibyl_operator").parts[0])
    assert users["kubernetes"] <= {"kube"}
    assert users["kopf"] <= {"handlers.py"}
