from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.providers.llm.sentences import Sentence, plain, split_markdown, split_prose


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It costs 3.5 dollars. Really.", ["It costs 3.5 dollars.", "Really."]),
        ("Use e.g. Redis. Done.", ["Use e.g. Redis.", "Done."]),
        ("See Fig. 3 for Dr. Smith's curve. Next.", ["See Fig. 3 for Dr. Smith's curve.", "Next."]),
        ("J. Doe wrote it. Then left.", ["J. Doe wrote it.", "Then left."]),
        ('He said "stop." She did.', ['He said "stop.', "She did."]),
        ("Run it. `make serve` stays up.", ["Run it.", "`make serve` stays up."]),
        ("the flow is laminar . it separates later .", ["the flow is laminar", "it separates later ."]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        ("version 1.2.3 of pkg.name works", ["version 1.2.3 of pkg.name works"]),
        ("", []),
        ("...", []),
    ],
)
def test_prose_is_cut_where_sentences_end(text: str, sentences: list[str]) -> None:
    assert split_prose(text) == sentences


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("**Bold** and _soft_ and `code_with_underscores`", "Bold and soft and `code_with_underscores`"),
        ("a [link](http://x.y/z) and ![picture](p.png)", "a link and picture"),
        ("`_HEADERS`, `_TIMEOUT`, `OTEL_BSP_*`, *OTEL*", "`_HEADERS`, `_TIMEOUT`, `OTEL_BSP_*`, OTEL"),
        ("two * three * four", "two * three * four"),
        ("broken\n  over lines", "broken over lines"),
    ],
)
def test_markup_is_reduced_to_words(markup: str, words: str) -> None:
    assert plain(markup) == words


DOCUMENT = """\
# Operations

The runtime keeps
one process per pod. It scales by replicas.

## Backups ##

- Nightly dumps go to
  object storage.
* Restores are tested weekly. They take an hour.
1. Stop the writer.
2) Restore.

> Quoted advice is kept.

| Setting | Default |
|---------|---------|
| pool_size | 4 |

To restart:

```sh
# not a heading
kubectl rollout restart deploy/sibyl
```

The end.
"""


def test_layout_is_respected() -> None:
    restart = "To restart:\n```\n# not a heading\nkubectl rollout restart deploy/sibyl\n```"
    assert split_markdown(DOCUMENT) == [
        Sentence("The runtime keeps one process per pod.", "Operations"),
        Sentence("It scales by replicas.", "Operations"),
        Sentence("Nightly dumps go to object storage.", "Backups"),
        Sentence("Restores are tested weekly.", "Backups"),
        Sentence("They take an hour.", "Backups"),
        Sentence("Stop the writer.", "Backups"),
        Sentence("Restore.", "Backups"),
        Sentence("Quoted advice is kept.", "Backups"),
        Sentence("pool_size, 4", "Backups"),
        Sentence(restart, "Backups"),
        Sentence("The end.", "Backups"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Prose without a colon.\n```\ncode\n```",
        "```\nonly code\n```",
        "A listing:\n```\n" + "x" * 500 + "\n```",
        "An empty one:\n```\n```",
    ],
)
def test_code_that_nothing_introduces_or_that_is_long_is_no_sentence(text: str) -> None:
    assert all("```" not in sentence.text for sentence in split_markdown(text))


def test_a_chunk_that_ends_inside_code_keeps_what_is_there() -> None:
    [sentence] = split_markdown("Run:\n```\nmake demo")
    assert sentence.text == "Run:\n```\nmake demo\n```"


@given(st.text(alphabet="ab .!?#-*`|>\n1)", max_size=300))
def test_no_text_is_too_odd_to_split(text: str) -> None:
    for sentence in split_markdown(text):
        assert any(map(str.isalnum, sentence.text))
