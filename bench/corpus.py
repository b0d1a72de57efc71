"""A corpus made by rule, the same on every machine: pages of a technical manual, and questions about them."""

from __future__ import annotations

import random
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


def sentence_forms() -> list[str]:
    """Every sentence that a page may hold, without its site."""
    return [
        f"{subject} {verb} {thing} {cause}."
        for subject in _SUBJECTS
        for verb in _VERBS
        for thing in _OBJECTS
        for cause in _CAUSES
    ]


def pages(number: int) -> list[tuple[str, list[str]]]:
    """Texts like those of `write_corpus`, and the forms of the sentences that each holds."""
    pick = random.Random(0)
    forms = sentence_forms()
    made = []
    for page in range(number):
        site = f"{pick.choice(_PLACES)} {page}"
        chosen = pick.choices(forms, k=SENTENCES_PER_DOCUMENT)
        made.append((f"Site {site}. " + " ".join(f"At {site}: {form}" for form in chosen), chosen))
    return made


def questions(number: int) -> list[str]:
    """Questions about what the pages speak of."""
    pick = random.Random(1)
    return [_question(pick) for _ in range(number)]


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
