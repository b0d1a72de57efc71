"""What texts have in common with a question and with each other, counted in words.

A word is a run of letters, digits and underscores, in one case; there are no stems and no list of stop words, so it
works in any language that writes spaces between words. Words are weighed against the candidates alone: a word that
all of them hold says nothing about which is best.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sibyl_runtime.providers.protocols import Vectors

K1, B = 1.2, 0.75
"""BM25's usual constants: how soon more of one word adds no more, and how much long texts are held back."""

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of `text`, in its order."""
    return _WORD.findall(text.casefold())


def bm25(question: str, texts: Sequence[str]) -> list[float]:
    """The BM25 score of each text; 0 for one that shares no word with the question.

    The sum over the question's different words of idf x f x (K1 + 1) / (f + K1 x (1 - B + B x length / mean length)),
    where f is how often the text holds the word, idf = ln(1 + (N - n + 0.5) / (n + 0.5)), and n of the N texts hold it.
    """
    counts = [Counter(words(text)) for text in texts]
    lengths = [count.total() for count in counts]
    mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
    weights = {
        word: _idf(sum(word in count for count in counts), len(texts)) for word in dict.fromkeys(words(question))
    }
    return [
        sum(
            weight * count[word] * (K1 + 1) / (count[word] + K1 * (1 - B + B * length / mean))
            for word, weight in weights.items()
            if word in count
        )
        for count, length in zip(counts, lengths, strict=True)
    ]


def likeness(texts: Sequence[str]) -> Vectors:
    """How alike every two texts are, shape (len(texts), len(texts)), 0 to 1: the cosine of their word vectors.

    A word counts (1 + ln f) x idf, with the idf of `bm25`. A text without words is like none.
    """
    counts = [Counter(words(text)) for text in texts]
    held = Counter(word for count in counts for word in count)
    columns = {word: column for column, word in enumerate(sorted(word for word, texts in held.items() if texts > 1))}
    vectors = np.zeros((len(texts), len(columns)), dtype=np.float32)
    lengths = np.zeros(len(texts), dtype=np.float32)
    for row, count in enumerate(counts):
        for word, times in count.items():
            weight = (1 + math.log(times)) * _idf(held[word], len(texts))
            lengths[row] += weight**2
            # A word of one text alone adds to its length and to no product; most words are such.
            if word in columns:
                vectors[row, columns[word]] = weight
    vectors /= np.sqrt(np.where(lengths > 0, lengths, 1))[:, None]
    alike: Vectors = vectors @ vectors.T
    return alike


def _idf(holding: int, texts: int) -> float:
    return math.log(1 + (texts - holding + 0.5) / (holding + 0.5))
