"""How a context is put together from chunks: without repetition, within a budget, the best where models look most."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from sibyl_runtime.providers.protocols import Passage
from sibyl_runtime.store.records import Hit
from sibyl_runtime.techniques.prompts import SEPARATOR, entry

REPEATED = 0.9
"""Share of the word sequences of a chunk that a better one holds, from which on it repeats that one. Neighbouring
chunks overlap by an eighth, so that they are not meant."""
SEQUENCE = 3

_WORD = re.compile(r"\w+")


def without_repetition(hits: Sequence[Hit]) -> list[Hit]:
    """The hits, best first, without those whose text nearly all stands in one that comes before them."""
    holders: dict[tuple[str, ...], list[int]] = {}
    kept: list[Hit] = []
    for hit in hits:
        sequences = _sequences(hit.content)
        shared = Counter(holder for sequence in sequences for holder in holders.get(sequence, ()))
        if sequences and max(shared.values(), default=0) >= REPEATED * len(sequences):
            continue
        for sequence in sequences:
            holders.setdefault(sequence, []).append(len(kept))
        kept.append(hit)
    return kept


def _sequences(text: str) -> frozenset[tuple[str, ...]]:
    """Every three words in a row; of a shorter text, all of its words."""
    words = _WORD.findall(text.casefold())
    if not words:
        return frozenset()
    return frozenset(tuple(words[start : start + SEQUENCE]) for start in range(max(1, len(words) - SEQUENCE + 1)))


def within(passages: Sequence[Passage], most: int | None, count: Callable[[str], int]) -> tuple[int, int]:
    """How many of the first passages fit into `most` tokens, at least one, and the tokens of their entries."""
    total = 0
    for index, passage in enumerate(passages):
        tokens = count(SEPARATOR * bool(index) + entry(index + 1, passage))
        if most is not None and index and total + tokens > most:
            return index, total
        total += tokens
    return len(passages), total


def best_at_the_ends(length: int) -> list[int]:
    """Positions 0 (best) to `length` - 1 (worst), the best first and last and the worst in the middle: 0 2 4 3 1.

    Models use what stands at the ends of a long context more than what is in its middle (Liu et al., 2023).
    """
    return [*range(0, length, 2), *reversed(range(1, length, 2))]


def assembled(passages: Sequence[Passage], order: Sequence[int]) -> str:
    """The passages in this order of positions. Each keeps the number of its own position, from 1."""
    return SEPARATOR.join(entry(position + 1, passages[position]) for position in order)
