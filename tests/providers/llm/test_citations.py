from __future__ import annotations

import pytest

from sibyl_runtime.providers.llm.citations import cited_positions, marker, without_markers


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("It is blue [1].", (0,)),
        ("It is blue [2][1], says [2].", (0, 1)),
        ("Both agree [1, 3].", (0, 2)),
        ("Nobody says so.", ()),
        ("An invented source [4], and [0].", ()),
        ("A link [text](url), a list [1a], code x[i].", ()),
        ("A year [2024].", ()),
    ],
)
def test_markers_become_positions_of_passages(text: str, positions: tuple[int, ...]) -> None:
    assert cited_positions(text, passages=3) == positions


def test_a_marker_is_read_back_as_its_position() -> None:
    assert cited_positions(f"x {marker(0)} {marker(4)}", passages=5) == (0, 4)


def test_a_sources_own_numbers_do_not_read_as_markers() -> None:
    assert without_markers("as shown in [12] and [3, 4]") == "as shown in (12) and (3, 4)"
