from __future__ import annotations

from pathlib import Path

import pytest

from sibyl_runtime.errors import InvalidParameters, StartupError
from sibyl_runtime.providers.reranking.pairs import PairTokenizer, padded
from tests.support.tiny_cross_encoder import write_cross_encoder

CLS, SEP = 2, 3


@pytest.fixture
def tokenizer(tmp_path: Path) -> PairTokenizer:
    """A window of 12 tokens. The file itself says to cut and pad to 8."""
    return PairTokenizer.load(write_cross_encoder(tmp_path / "tiny") / "tokenizer.json", 12)


def test_a_pair_is_question_and_passage_between_markers(tokenizer: PairTokenizer) -> None:
    [pair] = tokenizer.pairs("w1 w2", ["w3 w4 w5"])
    assert list(pair.ids) == [CLS, 5, 6, SEP, 7, 8, 9, SEP]
    assert list(pair.segments) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert not pair.shortened


def test_a_passage_that_is_too_long_loses_its_end_and_says_so(tokenizer: PairTokenizer) -> None:
    fits, cut = tokenizer.pairs("w1 w2", ["w3 " * 7, "w3 " * 8])
    assert (len(fits.ids), fits.shortened) == (12, False)
    assert (list(cut.ids), cut.shortened) == (list(fits.ids), True)


def test_a_question_that_leaves_passages_no_room_is_refused(tokenizer: PairTokenizer) -> None:
    assert len(tokenizer.pairs("w1 " * 6, ["w3"])) == 1
    with pytest.raises(InvalidParameters) as caught:
        tokenizer.pairs("w1 " * 7, ["w3"])
    assert caught.value.message == (
        "query has 7 tokens; the reranking model reads 6 beside a passage; ask a shorter question"
    )


def test_an_empty_passage_is_a_pair_too(tokenizer: PairTokenizer) -> None:
    [pair] = tokenizer.pairs("w1", [""])
    assert list(pair.ids) == [CLS, 5, SEP, SEP]


def test_a_batch_is_padded_on_the_right(tokenizer: PairTokenizer) -> None:
    ids, mask, segments = padded(tokenizer.pairs("w1", ["w3 w4", "w3"]))
    assert ids.tolist() == [[CLS, 5, SEP, 7, 8, SEP], [CLS, 5, SEP, 7, SEP, 0]]
    assert mask.tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]]
    assert segments.tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0]]


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(StartupError, match=r"model: .*tokenizer\.json is not a tokenizer: "):
        PairTokenizer.load(tmp_path / "tokenizer.json", 12)
