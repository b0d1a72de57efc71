"""Which files of a directory are a corpus: by pattern, sorted, never hidden, never outside, never twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sibyl_runtime.errors import IngestError
from sibyl_runtime.techniques.documents.decoding import read_text
from sibyl_runtime.techniques.documents.discovery import discover, matcher
from sibyl_runtime.techniques.documents.events import Unreadable


def tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")


def names(root: Path, pattern: str = "**/*") -> list[str]:
    return [file.name for file in discover(root, pattern).files]


def skipped(root: Path, pattern: str = "**/*") -> dict[str, str]:
    return {found.path: found.reason for found in discover(root, pattern).skipped}


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("**/*", ["a.md", "x/y/b.txt"], []),
        ("*.md", ["a.md"], ["x/a.md", "a.txt", "a.md.bak"]),
        ("**/*.md", ["a.md", "x/a.md", "x/y/a.md"], ["a.txt"]),
        ("docs/**/*.md", ["docs/a.md", "docs/x/y/a.md"], ["a.md", "mydocs/a.md"]),
        ("docs/**", ["docs/a.md", "docs/x/a.txt"], ["a.md"]),
        ("?.md", ["a.md"], ["ab.md", "/.md"]),
        ("[ab].md", ["a.md", "b.md"], ["c.md", "ab.md"]),
        ("[!ab].md", ["c.md"], ["a.md"]),
        ("**/*.{md,txt}", ["a.md", "x/b.txt"], ["a.json"]),
        ("a+(b).md", ["a+(b).md"], ["aab.md"]),
        ("[", ["["], ["x"]),
    ],
)
def test_a_pattern_means_what_a_glob_means(pattern: str, matching: list[str], other: list[str]) -> None:
    matches = matcher(pattern)
    assert [name for name in [*matching, *other] if matches(name)] == matching


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "docs/../../*"])
def test_a_pattern_cannot_lead_out_of_the_directory(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(IngestError, match=r"leads out of the directory; it must be relative"):
        discover(tmp_path, pattern)


def test_files_are_found_sorted_and_hidden_ones_are_left_alone(tmp_path: Path) -> None:
    tree(tmp_path, "b.md", "a/z.md", "a/b/c.txt", ".git/config", "a/.hidden", ".env")
    assert names(tmp_path) == ["a/b/c.txt", "a/z.md", "b.md"]
    assert skipped(tmp_path) == {}


def test_one_file_is_a_corpus_whatever_the_pattern(tmp_path: Path) -> None:
    tree(tmp_path, "notes.txt")
    corpus = discover(tmp_path / "notes.txt", "*.md")
    assert [file.name for file in corpus.files] == ["notes.txt"]
    assert corpus.root == (tmp_path / "notes.txt").resolve()


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=rf"cannot ingest {tmp_path}/none: No such file or directory; relative paths"):
        discover(tmp_path / "none", "**/*")


def test_a_device_is_no_corpus() -> None:
    with pytest.raises(IngestError, match="cannot ingest /dev/null: it is neither a file nor a directory"):
        discover(Path("/dev/null"), "**/*")


def test_links_out_of_the_directory_are_reported_and_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    tree(tmp_path, "secret.txt", "outside/a.md", "root/a.md")
    (root / "link.txt").symlink_to("../secret.txt")
    (root / "linked").symlink_to("../outside")
    assert names(root) == ["a.md"]
    assert skipped(root) == {
        "link.txt": "a symbolic link out of the directory; not followed",
        "linked": "a symbolic link out of the directory; not followed",
    }


def test_links_in_a_loop_end(tmp_path: Path) -> None:
    tree(tmp_path, "a/b/c.md")
    (tmp_path / "a" / "b" / "up").symlink_to("../..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone").symlink_to("nowhere")
    assert names(tmp_path) == ["a/b/c.md"]
    assert skipped(tmp_path) == {
        "a/b/up": "a symbolic link to ., which is read itself",
        "gone": "a symbolic link that leads nowhere",
        "self": "a symbolic link that leads nowhere",
    }


def test_a_link_to_what_is_read_anyway_adds_nothing(tmp_path: Path) -> None:
    tree(tmp_path, "v2/a.md")
    (tmp_path / "current").symlink_to("v2")
    (tmp_path / "first.md").symlink_to("v2/a.md")
    assert names(tmp_path) == ["v2/a.md"]
    assert skipped(tmp_path) == {
        "current": "a symbolic link to v2, which is read itself",
        "first.md": "a symbolic link to v2/a.md, which is read itself",
    }


def test_a_mounted_config_map_is_read_under_its_own_names(tmp_path: Path) -> None:
    """Kubernetes presents files as links into `..data`, itself a link to a directory with a time stamp."""
    tree(tmp_path, "..2026_11_24/a.md", "..2026_11_24/sub/b.md")
    (tmp_path / "..data").symlink_to("..2026_11_24")
    (tmp_path / "a.md").symlink_to("..data/a.md")
    (tmp_path / "sub").symlink_to("..data/sub")
    corpus = discover(tmp_path, "**/*")
    assert [file.name for file in corpus.files] == ["a.md", "sub/b.md"]
    assert corpus.skipped == ()
    assert corpus.files[0].path.read_text() == "text of ..2026_11_24/a.md"


def test_what_is_not_a_file_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    assert skipped(tmp_path) == {"pipe.md": "not a regular file"}
    assert skipped(tmp_path, "*.txt") == {}, "nothing is said about what was not asked for"


def test_a_name_that_is_not_utf8_is_reported_readably(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md"))).write_text("x")
    assert names(tmp_path) == []
    assert skipped(tmp_path) == {"caf\\xe9.md": "its name is not valid UTF-8"}


def test_a_file_that_became_a_link_after_it_was_found_is_not_followed(tmp_path: Path) -> None:
    tree(tmp_path, "secret.txt", "root/a.md")
    (file,) = discover(tmp_path / "root", "**/*").files
    file.path.unlink()
    file.path.symlink_to("../secret.txt")
    with pytest.raises(Unreadable, match="cannot be opened: Too many levels of symbolic links"):
        read_text(file.path, max_size=1_000, encoding="utf-8")
