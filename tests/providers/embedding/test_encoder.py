from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.providers.embedding.encoder import LONGEST_PADDED, pad, plan_batches

lengths_of_texts = st.lists(st.integers(2, 600), max_size=120)


@given(lengths=lengths_of_texts, max_tokens=st.integers(1, 2048), max_texts=st.integers(1, 64))
def test_every_text_is_in_one_batch_and_no_batch_is_too_large(
    lengths: list[int], max_tokens: int, max_texts: int
) -> None:
    batches = plan_batches(lengths, max_tokens=max_tokens, max_texts=max_texts)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= max_texts
        assert len(batch) == 1 or len(batch) * max(lengths[position] for position in batch) <= max_tokens


@given(lengths=lengths_of_texts)
def test_little_of_a_batch_is_padding(lengths: list[int]) -> None:
    for batch in plan_batches(lengths, max_tokens=512, max_texts=64):
        padded = len(batch) * max(lengths[position] for position in batch)
        assert padded - sum(lengths[position] for position in batch) <= max(32, padded // 8)


@given(lengths=lengths_of_texts)
def test_a_long_text_is_never_padded(lengths: list[int]) -> None:
    for batch in plan_batches(lengths, max_tokens=2048, max_texts=64):
        longest = max(lengths[position] for position in batch)
        assert longest <= LONGEST_PADDED or all(lengths[position] == longest for position in batch)


def test_texts_of_like_length_share_a_batch() -> None:
    assert plan_batches([10, 100, 11, 102, 9], max_tokens=512, max_texts=64) == [[4, 0, 2], [1, 3]]


def test_a_text_longer_than_the_bound_goes_alone() -> None:
    assert plan_batches([600, 600], max_tokens=512, max_texts=64) == [[0], [1]]


def test_padding_is_masked() -> None:
    ids, mask = pad([[5, 6, 7], [8]])
    np.testing.assert_array_equal(ids, [[5, 6, 7], [8, 0, 0]])
    np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 0, 0]])
