"""What can be said of the Dockerfiles without building them."""

from __future__ import annotations

import re
import tomllib

import pytest

import sibyl_operator
import sibyl_runtime
from e2e.programs import ROOT
from sibyl_operator.desired.pod import USER, WRITABLE_DIRECTORIES

DOCKERFILES = ("operator/Dockerfile", "runtime/Dockerfile")


def text_of(dockerfile: str) -> str:
    return (ROOT / dockerfile).read_text()


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_label_tells_the_version_of_the_project(dockerfile: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r'image\.version="([^"]*)"', text_of(dockerfile)) == [version]
    assert sibyl_operator.__version__ == sibyl_runtime.__version__ == version


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_every_stage_is_made_from_the_base_or_another_stage(dockerfile: str) -> None:
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", text_of(dockerfile), re.MULTILINE)
    known = {"${BASE}"}
    for origin, name in stages:
        assert origin in known
        known.add(name)
    assert text_of(dockerfile).count("\nFROM ") == len(stages)
    assert "\nARG BASE=python:3.12-slim-bookworm\n" in text_of(dockerfile)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_every_installation_keeps_to_the_versions_that_were_tested(dockerfile: str) -> None:
    steps = text_of(dockerfile).replace("\\\n", " ")
    installations = re.findall(r"pip --python \S+ install ([^&\n]*)", steps)
    assert len(installations) >= 2
    for arguments in installations:
        assert "--constraint constraints.txt" in arguments or "--no-deps --root /project ." in arguments


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_user_is_the_one_of_the_pods(dockerfile: str) -> None:
    assert f"\nUSER {USER}:{USER}\n" in text_of(dockerfile)


def test_a_container_outside_of_a_cluster_finds_the_directories_of_a_pod() -> None:
    for name, directory in WRITABLE_DIRECTORIES.items():
        assert f" {name}={directory}" in text_of("runtime/Dockerfile")


def test_torch_comes_from_pinned_versions_and_before_the_default_stage() -> None:
    text = text_of("runtime/Dockerfile")
    assert "--constraint constraints.txt --constraint constraints-torch.txt --requirement torch.txt" in text
    assert text.rstrip().endswith("FROM serving AS runtime")


def test_faiss_comes_from_pinned_versions_in_a_target_of_its_own() -> None:
    text = text_of("runtime/Dockerfile")
    assert "--constraint constraints.txt --requirement faiss.txt" in text
    assert "FROM serving AS faiss\nCOPY --from=faiss-dependencies" in text
    assert text.index("AS faiss\n") < text.index("AS runtime")


def test_tracing_is_a_target_of_its_own_from_pinned_versions() -> None:
    text = text_of("runtime/Dockerfile")
    assert "--root /otel \\\n        --constraint constraints.txt --requirement otel.txt" in text
    assert "FROM serving AS otel\nCOPY --from=otel-dependencies /otel/ /\n" in text
