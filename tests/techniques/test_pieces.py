"""Cutting an answer into pieces of so many tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.techniques.pieces import Pieces


def cut(parts: list[str], size: int) -> list[str]:
    pieces = Pieces(size)
    return [*(piece for part in parts for piece in pieces.add(part)), pieces.rest()]


TABLE: list[tuple[list[str], int, list[str]]] = [
    (["It holds, say, ten."], 2, ["It holds", ", say", ", ten", "."]),
    (["It holds ten."], 1, ["It", " holds", " ten", ".", ""]),
    (["  It", " ho", "lds", " \n", "ten. \n"], 3, ["It holds", " \nten."]),
    (["It holds ten."], 100, ["It holds ten."]),
    ([" \n "], 1, [""]),
    ([], 1, [""]),
    (["日本語の文章には空白がありません"], 1, ["日本語の文章には空白があ", "りません", ""]),
]


@pytest.mark.parametrize(("parts", "size", "pieces"), TABLE, ids=lambda value: str(value)[:30])
def test_a_piece_has_so_many_words_and_marks_each_with_the_space_before_it(
    parts: list[str], size: int, pieces: list[str]
) -> None:
    assert cut(parts, size) == pieces


@given(st.lists(st.text(alphabet=st.sampled_from("ab ,.\n\té日\x1c\u2003🐦"))), st.integers(1, 5))
def test_what_goes_in_comes_out_without_space_at_its_ends(parts: list[str], size: int) -> None:
    pieces = cut(parts, size)
    assert "".join(pieces) == "".join(parts).strip()
    assert all(pieces[:-1])
    assert not any(piece.isspace() for piece in pieces)


@given(st.lists(st.sampled_from(["a", " b", "c", ".", " d"]), max_size=30), st.integers(1, 5))
def test_every_piece_but_the_last_has_its_size_in_the_models_own_parts(parts: list[str], size: int) -> None:
    *whole, rest = cut(parts, size)
    expected = ["".join(parts[start : start + size]) for start in range(0, len(parts), size)]
    assert [piece.strip() for piece in [*whole, rest] if piece] == [piece.strip() for piece in expected]
    assert len(whole) == len(parts) // size
