from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.images.recipe import IMAGES, TARGETS, Image, image_key
from e2e.programs import ROOT

IMAGE = Image("localhost/thing:1", "Dockerfile", ("code", "pins.txt"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "code" / "inner").mkdir(parents=True)
    (tmp_path / "code" / "inner" / "module.py").write_text("x = 1")
    (tmp_path / "pins.txt").write_text("a==1")
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "Dockerfile").write_text("FROM other"),
        lambda tree: (tree / "pins.txt").write_text("a==2"),
        lambda tree: (tree / "code" / "inner" / "module.py").write_text("x = 2"),
        lambda tree: (tree / "code" / "inner" / "module.py").chmod(0o755),
        lambda tree: (tree / "code" / "inner" / "module.py").rename(tree / "code" / "module.py"),
        lambda tree: (tree / "code" / "new.txt").write_text(""),
    ],
    ids=["Dockerfile", "pins", "content", "mode", "place", "new file"],
)
def test_whatever_an_image_is_made_of_changes_its_key(tree: Path, change: Callable[[Path], object]) -> None:
    before = image_key(IMAGE, tree)
    change(tree)
    assert image_key(IMAGE, tree) != before


def test_what_an_image_is_not_made_of_leaves_its_key(tree: Path) -> None:
    before = image_key(IMAGE, tree)
    (tree / "README").write_text("")
    (tree / "code" / "__pycache__").mkdir()
    (tree / "code" / "__pycache__" / "module.pyc").write_bytes(b"")
    assert image_key(IMAGE, tree) == before


def test_two_targets_of_one_file_have_two_keys(tree: Path) -> None:
    assert image_key(IMAGE, tree) != image_key(Image(IMAGE.reference, "Dockerfile", IMAGE.inputs, "other"), tree)


@pytest.mark.parametrize("image", [*IMAGES, *TARGETS], ids=lambda image: image.name)
def test_the_files_of_an_image_are_there_and_sent_to_its_build(image: Image) -> None:
    assert (ROOT / image.dockerfile).is_file()
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for entry in image.inputs:
        assert (ROOT / entry).exists()
        assert entry in sent or entry == ".dockerignore"


def test_a_name_is_the_reference_without_registry_and_tag() -> None:
    assert [image.name for image in IMAGES] == ["sibyl-operator", "sibyl-runtime", "postgres", "redis"]
