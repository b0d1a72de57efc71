"""The documentation's commands for Helm: their options exist, their chart is there, their values render."""

from __future__ import annotations

import re
import shlex
from functools import cache

import pytest

from e2e.chart import CHART, helm, render_text
from e2e.programs import ROOT

PAGES = [ROOT / "README.md", CHART / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        line
        for page in PAGES
        for body in CONSOLE.findall(page.read_text())
        for line in body.splitlines()
        if line.startswith("helm ")
    }
)


@cache
def usage(command: str) -> str:
    return helm(command, "--help").stdout


def test_the_documentation_shows_how_to_install_upgrade_test_and_uninstall() -> None:
    assert {shlex.split(command)[1] for command in COMMANDS} == {"install", "test", "upgrade", "uninstall"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_helm_in_the_documentation_exists(command: str) -> None:
    _, subcommand, *words = shlex.split(command)
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", usage(subcommand)), f"helm {subcommand} has no {option}"


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.split()[1] in ("install", "upgrade")])
def test_the_chart_takes_every_value_in_the_documentation(command: str) -> None:
    words = shlex.split(command)
    assert (ROOT / words[3] / "Chart.yaml").is_file()
    options = [part for at, word in enumerate(words) if word == "--set" for part in words[at : at + 2]]
    assert render_text(chart=ROOT / words[3], options=options)
