"""The documentation tells the truth: its YAML is accepted, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from sibyl_operator.api.group import KIND
from sibyl_operator.api.resource import InvalidResource, read_resource
from sibyl_operator.kube.kinds import KINDS
from sibyl_runtime.workspace import parse_workspace

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
COMMANDS = ("sibyl", "sibyl-operator", "make")


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (f"{page.relative_to(ROOT)} #{number}", body)
        for page in PAGES
        for number, (found, body) in enumerate(FENCE.findall(page.read_text()), 1)
        if found == language
    ]


def commands() -> list[str]:
    lines = (line.strip() for _, body in blocks("console") for line in body.splitlines())
    return sorted({line for line in lines if line.split()[:1] and line.split()[0] in COMMANDS})


@pytest.mark.parametrize(("place", "text"), blocks("yaml"))
def test_every_workspace_in_the_documentation_is_accepted(place: str, text: str) -> None:
    document = yaml.safe_load(text)
    if document.get("kind", KIND) != KIND:
        assert document["apiVersion"] in {kind.api_version for kind in KINDS.values()}
        return
    if "kind" not in document:
        parse_workspace(document, source=place)
        return
    body = {**document, "metadata": {"namespace": "default", "uid": "u", "generation": 1, **document["metadata"]}}
    resource = read_resource(body)
    assert not isinstance(resource, InvalidResource), [str(p) for p in getattr(resource, "problems", ())]


@cache
def usage(*words: str) -> str:
    program = Path(sys.executable).parent / words[0]
    done = subprocess.run([program, *words[1:], "--help"], capture_output=True, text=True, check=True, timeout=60)
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


@pytest.mark.parametrize("command", [line for line in commands() if not line.startswith("make")])
def test_every_command_and_option_in_the_documentation_exists(command: str) -> None:
    words = shlex.split(command, comments=True)
    names = [words[0]]
    for word in words[1:]:
        if not re.fullmatch(r"[a-z]+", word) or f"{word} " not in usage(*names).partition("Commands")[2]:
            break
        names.append(word)
    assert len(names) > 1, f"{command}: no such subcommand"
    for option in (word for word in words if word.startswith("--")):
        assert option in usage(*names), f"{command}: {' '.join(names)} has no {option}"


def test_every_make_target_in_the_documentation_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for page in PAGES for word in re.findall(r"`make ([a-z-]+)`", page.read_text())}
    assert named <= targets
    assert {"demo", "test"} <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert broken == []


def test_the_reference_of_the_document_is_up_to_date() -> None:
    script = ROOT / "docs" / "workspace_reference.py"
    found = runpy.run_path(str(script))["page"]()
    assert found == (ROOT / "docs" / "workspace.md").read_text(), "run make generate"


def test_every_file_that_the_architecture_names_exists() -> None:
    named = re.findall(r"`((?:runtime|operator|e2e)/[^`<]+)`", (ROOT / "ARCHITECTURE.md").read_text())
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []
