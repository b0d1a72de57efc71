from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.model_files import find_model
from sibyl_runtime.providers.embedding.tokenizer import Tokenizer

TOKENIZER = Tokenizer.load(find_model("all-MiniLM-L6-v2", {}) / "tokenizer.json")


def test_offsets_are_characters_of_the_original_text() -> None:
    text = "Ünïcode 日本 🚀 naïve café: re-index!"
    words = [text[token.start : token.end] for token in TOKENIZER.tokens(text)]
    assert words[0].startswith("Ü")
    assert {"日", "本", "naïve", "café", ":", "re", "-", "index", "!"} <= set(words)


@given(st.text(max_size=200))
def test_offsets_ascend_and_stay_inside_the_text(text: str) -> None:
    tokens = TOKENIZER.tokens(text)
    assert all(0 <= token.start <= token.end <= len(text) for token in tokens)
    assert [token.start for token in tokens] == sorted(token.start for token in tokens)


def test_nothing_is_truncated_or_padded_although_the_file_asks_for_both() -> None:
    assert len(TOKENIZER.tokens("word " * 5000)) == 5000
    assert len(TOKENIZER.ids("word")) == 3


def test_ids_are_the_tokens_between_two_markers() -> None:
    text = "how many tokens is this?"
    ids = TOKENIZER.ids(text)
    assert (ids[0], ids[-1]) == (101, 102)
    assert len(ids) == len(TOKENIZER.tokens(text)) + 2


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(StartupError, match=f"model: {path} is not a tokenizer: "):
        Tokenizer.load(path)
