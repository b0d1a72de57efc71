"""What is structure in Markdown, and what only looks like it."""

from __future__ import annotations

import pytest

from sibyl_runtime.techniques.documents.events import Unreadable
from sibyl_runtime.techniques.documents.markdown import plain_structure, split_front_matter, structure


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        ("# One\n## Two\ntext", [(1, "One"), (2, "Two")]),
        ("#One", []),
        ("#\n", [(1, "")]),
        ("###### Six ######", [(6, "Six")]),
        ("####### seven", []),
        ("    # indented code", []),
        ("  # a little indented", [(1, "a little indented")]),
        ("Title\n=====\ntext", [(1, "Title")]),
        ("Sub\n---\ntext", [(2, "Sub")]),
        ("first line\nsecond line\n---\n", []),
        ("- item\n---\n", []),
        ("| a | b |\n|---|---|\n", []),
        ("text\n\n---\n\nmore", []),
        ("# [Link](http://x) and `code` and **bold** {#anchor}", [(1, "Link and code and bold")]),
        ("```\n# in a fence\n```\n# outside", [(1, "outside")]),
        ("````\n```\n# still inside\n````\n# outside", [(1, "outside")]),
        ("~~~\n```\n# inside\n~~~\n# outside", [(1, "outside")]),
        ("- list\n  ```\n  # in the fence of a list\n  ```\n# outside", [(1, "outside")]),
        ("```not a fence``` here\n# outside", [(1, "outside")]),
        ("```\n# never closed", []),
    ],
)
def test_headings(text: str, headings: list[tuple[int, str]]) -> None:
    assert [(heading.level, heading.title) for heading in structure(text).headings] == headings


def test_positions_are_those_of_the_lines() -> None:
    text = "intro\n\nTitle\n=====\nbody\n\n```py\nx\n\ny\n```\nafter\n"
    found = structure(text)
    (heading,) = found.headings
    assert text[heading.start : heading.end] == "Title\n=====\n"
    assert [text[start:end] for start, end in found.fences] == ["```py\nx\n\ny\n```\n"]
    assert [text[start:].split("\n")[0] for start in found.blocks] == ["intro", "Title", "body", "```py", "after"]


def test_a_fence_that_is_never_closed_goes_to_the_end() -> None:
    text = "a\n\n```\ncode\n\nmore"
    assert [text[start:end] for start, end in structure(text).fences] == ["```\ncode\n\nmore"]


def test_plain_text_has_blocks_and_nothing_else() -> None:
    text = "# one\ntwo\n\n \n  three\n\nfour"
    found = plain_structure(text)
    assert (found.headings, found.fences) == ([], [])
    assert [text[start:].split("\n")[0] for start in found.blocks] == ["# one", "three", "four"]


@pytest.mark.parametrize(
    ("text", "metadata", "rest"),
    [
        ("---\ntitle: A\ntags: [x, y]\n---\n# B\n", {"title": "A", "tags": ["x", "y"]}, "# B\n"),
        ("---\ndate: 2026-01-02\n1: one\n---\n", {"date": "2026-01-02", "1": "one"}, ""),
        ("---\nat: 2026-01-02 03:04:05\n---\n", {"at": "2026-01-02T03:04:05"}, ""),
        ("---\ntitle: A\n...\ntext", {"title": "A"}, "text"),
        ("---\n---\ntext", {}, "text"),
        ("---\n\nA line between two rules.\n\n---\ntext", {}, None),
        ("---\nnever closed\n", {}, None),
        ("text\n---\ntitle: A\n---\n", {}, None),
        ("\n---\ntitle: A\n---\n", {}, None),
    ],
)
def test_front_matter(text: str, metadata: dict[str, object], rest: str | None) -> None:
    assert split_front_matter(text) == (metadata, text if rest is None else rest)


BOMB = (
    "---\na: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
    )
    + "---\n"
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("---\ntitle: [A\n---\n", r"front matter is not valid YAML: .* \(line \d\)"),
        ("---\ntitle: a: b\n---\n", r"front matter is not valid YAML: mapping values are not allowed here \(line 2\)"),
        ("---\nx: .nan\n---\n", "holds nan, which is not a number in JSON"),
        ("---\nx: !!binary aGVsbG8=\n---\n", "holds a bytes, which JSON has no form for"),
        ("---\nx: 99999999999999999999\n---\n", "a whole number of more than 64 bits"),
        ("---\nx: 2026-13-45\n---\n", "cannot be read: month must be in 1..12"),
        (BOMB, "more than 10,000 values or 32 levels"),
        ("---\nx: " + "[" * 5000 + "\n---\n", "front matter"),
        ("---\nx: " + "y" * 70_000 + "\n---\n", "longer than 65,536 characters"),
        ("---\nx: !!python/object/apply:os.system ['true']\n---\n", "front matter is not valid YAML"),
    ],
)
def test_front_matter_that_cannot_be_metadata_is_a_reason(text: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        split_front_matter(text)
