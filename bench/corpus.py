"""A corpus made by rule, the same on every machine: pages of a technical manual, and questions about them."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path

_SUBJECTS = ("The gateway", "A replica", "The scheduler", "Each worker", "The cache", "A snapshot", "The index")
_VERBS = ("stores", "rejects", "forwards", "compresses", "replicates", "validates", "archives", "renames")
_OBJECTS = ("requests", "certificates", "partitions", "log segments", "session tokens", "backups", "routing tables")
_CAUSES = (
    "when the quorum is lost", "before the lease expires", "after a failed checksum", "during a rolling upgrade",
    "if the queue is longer than its limit", "while the leader is being elected",
)  # fmt: skip
_PLACES = ("Lisbon", "Osaka", "Nairobi", "Quito", "Oslo", "Perth", "Gdansk", "Tunis")
SENTENCES_PER_DOCUMENT = 9
"""About 120 tokens: one chunk."""
SENTENCES_PER_PAGE, WORDS_PER_PAGE = 5, 25
VOCABULARY, COMMONEST_ASKED = 30_000, 20


def sentence_forms() -> list[str]:
    """Every sentence that a page may hold, without its site."""
    return [
        f"{subject} {verb} {thing} {cause}."
        for subject in _SUBJECTS
        for verb in _VERBS
        for thing in _OBJECTS
        for cause in _CAUSES
    ]


def words(count: int, number: int, *, seed: int, commonest: int = 1) -> list[list[str]]:
    """`count` lists of made-up words, few of which are common and most rare, as in a language (Zipf's law).

    `commonest` is the rank of the commonest word drawn: people do not ask for the words that stand everywhere.
    """
    pick = random.Random(seed)
    ranks = range(commonest, VOCABULARY + 1)
    weights = list(accumulate(1 / rank for rank in ranks))
    return [[f"w{rank}" for rank in pick.choices(ranks, cum_weights=weights, k=number)] for _ in range(count)]


def pages(number: int) -> list[tuple[str, list[str]]]:
    """Texts of about 150 tokens, and the forms of the sentences that each holds beside its made-up words."""
    pick = random.Random(0)
    forms = sentence_forms()
    made = []
    for notes in words(number, WORDS_PER_PAGE, seed=2):
        chosen = pick.choices(forms, k=SENTENCES_PER_PAGE)
        made.append((" ".join([*chosen, *notes]), chosen))
    return made


def questions(number: int) -> list[str]:
    """Questions of about 16 tokens about what the pages speak of, with two words that most pages do not hold."""
    pick = random.Random(1)
    return [
        f"What {pick.choice(_VERBS)} {pick.choice(_OBJECTS)} at {' '.join(asked)}?"
        for asked in words(number, 2, seed=3, commonest=COMMONEST_ASKED)
    ]


def write_corpus(directory: Path, documents: int) -> list[str]:
    """Write `documents` Markdown files of one chunk each; 64 questions, each about one of them."""
    pick = random.Random(0)
    for number in range(documents):
        site = f"{pick.choice(_PLACES)} {number}"
        sentences = [_sentence(pick, site) for _ in range(SENTENCES_PER_DOCUMENT)]
        (directory / f"page-{number:05}.md").write_text(f"# Site {site}\n\n{' '.join(sentences)}\n", encoding="utf-8")
    return [_question(pick) for _ in range(64)]


def _sentence(pick: random.Random, site: str) -> str:
    return f"{pick.choice(_SUBJECTS)} of {site} {pick.choice(_VERBS)} {pick.choice(_OBJECTS)} {pick.choice(_CAUSES)}."


def _question(pick: random.Random) -> str:
    return f"What {pick.choice(_VERBS)} {pick.choice(_OBJECTS)} {pick.choice(_CAUSES)} in {pick.choice(_PLACES)}?"
