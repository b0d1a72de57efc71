"""Answers without a language model: the sentences of the passages that share most with the question, with sources.

It needs no key, no network and no second model, and it cannot invent anything. Words that are rare in the passages
count more than common ones; a passage that the search found near the question lends its sentences some of that
nearness. Where nothing speaks to the question, it says so.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from sibyl_runtime.providers.llm.citations import cited_positions, marker, without_markers
from sibyl_runtime.providers.llm.sentences import FENCE, split_markdown
from sibyl_runtime.providers.protocols import Generation, GenerationRequest, Passage

if TYPE_CHECKING:
    from sibyl_runtime.workspace import LlmProvider

NO_ANSWER = "No passage in this workspace answers that."
DEFAULT_MODEL = "extractive"

MOST_SENTENCES = 3
TOKENS_PER_WORD = 4 / 3

# A passage answers when a sentence holds this share of the question's weight, or when the search is this sure of it.
ENOUGH_OVERLAP = 0.3
ENOUGH_SIMILARITY = 0.5

# What a word in the heading or title is worth against one in the sentence, and the search's opinion against overlap.
CONTEXT_SHARE = 0.5
SIMILARITY_SHARE = 0.3

# A further sentence must be worth this share of the best one, and repeat less than this share of a chosen one.
WORTH_ADDING = 0.6
REPETITION = 0.6

# Sentences outside these bounds, in words, are fragments or run-ons.
SHORTEST, LONGEST = 4, 60
ODD_LENGTH_PENALTY = 0.6

_WORD = re.compile(r"[^\W_]+")
_SUFFIX = re.compile(r"(?<=\w{4})(?:ings?|edly|ed|ies|es|s|ly)$|(?<=\w{3})(?:es|s)$")
_STOP_WORDS = frozenset(
    _WORD.findall(
        "a about after all also am an and any are as at be been being but by can could did do does doing for "
        "from get give had has have having he her his how i if in into is it its just let like many may me "
        "might more most much must my no nor not of on one or our out over own please shall she should so "
        "some such tell than that the their them then there these they this those to too under up us use used "
        "using very was we were what when where which while who whom whose why will with would you your"
    )
)


@dataclass(frozen=True)
class _Candidate:
    text: str
    passage: int
    order: int
    terms: frozenset[str]
    context: frozenset[str]
    words: int
    similarity: float


class ExtractiveModel:
    """A `LanguageModel` that quotes. Deterministic: the same passages give the same answer."""

    def __init__(self, name: str, provider: LlmProvider) -> None:
        self._name = name
        self._model = provider.model or DEFAULT_MODEL
        self._max_tokens = provider.max_tokens

    @property
    def name(self) -> str:
        return self._name

    async def generate(self, request: GenerationRequest) -> Generation:
        """One to three sentences in reading order, each with its source marker, or `NO_ANSWER` with nothing cited.

        `max_tokens` is honoured by counting words; `stop_sequences` end the answer. `temperature` has nothing to act
        on. Token counts are estimates of what was read and written; the cost is 0 because nobody is paid.
        """
        limit = self._max_tokens if request.max_tokens is None else request.max_tokens
        chosen, whole = _within(_choose(request.question, request.passages), limit)
        text = " ".join(_quoted(candidate) for candidate in chosen) or NO_ANSWER
        ends = [text.find(stop) for stop in request.stop_sequences if stop and stop in text]
        text = text[: min(ends, default=len(text))].rstrip()
        return Generation(
            text=text,
            model=self._model,
            prompt_tokens=_tokens([request.question, *(passage.content for passage in request.passages)]),
            completion_tokens=_tokens([text]),
            finish_reason="stop" if whole else "length",
            cited=cited_positions(text, len(request.passages)),
            cost_usd=Decimal(0),
        )

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[str | Generation, None]:
        """The answer of `generate` in one part: it is all there at once."""
        generation = await self.generate(request)
        yield generation.text
        yield generation

    async def check(self) -> None:
        """Nothing can be missing."""

    async def close(self) -> None:
        """Nothing is held."""


def _choose(question: str, passages: Sequence[Passage]) -> list[_Candidate]:
    """The sentences that answer, in reading order; empty when none does."""
    candidates = _candidates(passages)
    asked = _terms(question)
    weights = _weights(asked, candidates)
    total = sum(weights.values()) or 1.0
    overlaps = [_overlap(candidate, weights) / total for candidate in candidates]
    scores = [_score(candidate, overlap) for candidate, overlap in zip(candidates, overlaps, strict=True)]
    ranked = sorted(range(len(candidates)), key=lambda index: (-scores[index], index))
    answering = [
        index
        for index in ranked
        if overlaps[index] >= ENOUGH_OVERLAP or candidates[index].similarity >= ENOUGH_SIMILARITY
    ]
    chosen: list[_Candidate] = []
    for index in answering:
        worth = scores[index] >= WORTH_ADDING * scores[answering[0]]
        if worth and len(chosen) < MOST_SENTENCES and not _repeats(candidates[index], chosen):
            chosen.append(candidates[index])
    return sorted(chosen, key=lambda candidate: candidate.order)


def _candidates(passages: Sequence[Passage]) -> list[_Candidate]:
    found: list[_Candidate] = []
    for position, passage in enumerate(passages):
        title = _terms(passage.title)
        for sentence in split_markdown(passage.content):
            text = without_markers(sentence.text)
            words = len(text.split())
            context = title | _terms(sentence.heading)
            # Only prose speaks to the question: an example of a question is not its answer.
            terms = _terms(without_markers(sentence.prose))
            found.append(_Candidate(text, position, len(found), terms, context, words, passage.score))
    return found


def _weights(asked: frozenset[str], candidates: Sequence[_Candidate]) -> dict[str, float]:
    """A word of the question weighs the more, the fewer sentences hold it; one that none holds weighs most."""
    holding = Counter(term for candidate in candidates for term in candidate.terms & asked)
    return {term: math.log(1 + (len(candidates) + 1) / (holding[term] + 1)) for term in sorted(asked)}


def _overlap(candidate: _Candidate, weights: dict[str, float]) -> float:
    said = sum(weight for term, weight in weights.items() if term in candidate.terms)
    above = sum(weight for term, weight in weights.items() if term in candidate.context - candidate.terms)
    return said + CONTEXT_SHARE * above


def _score(candidate: _Candidate, overlap: float) -> float:
    length = 1.0 if SHORTEST <= candidate.words <= LONGEST else ODD_LENGTH_PENALTY
    return length * (overlap + SIMILARITY_SHARE * max(0.0, candidate.similarity))


def _repeats(candidate: _Candidate, chosen: Sequence[_Candidate]) -> bool:
    """Neighbouring chunks overlap, so the same sentence often comes twice."""
    return any(
        len(candidate.terms & other.terms) >= REPETITION * max(1, len(candidate.terms | other.terms))
        for other in chosen
    )


def _within(chosen: list[_Candidate], max_tokens: int | None) -> tuple[list[_Candidate], bool]:
    """As many of the sentences as `max_tokens` allows, the first one cut if need be; and whether that was all."""
    if max_tokens is None:
        return chosen, True
    room = max(1, int(max_tokens / TOKENS_PER_WORD))
    kept: list[_Candidate] = []
    for candidate in chosen:
        if candidate.words > room:
            break
        kept.append(candidate)
        room -= candidate.words
    if not kept and chosen:
        kept = [_shortened(chosen[0], room)]
        return kept, False
    return kept, len(kept) == len(chosen)


def _shortened(candidate: _Candidate, words: int) -> _Candidate:
    prose = candidate.text.partition("\n")[0].split()
    return replace(candidate, text=" ".join(prose[:words]) + " …", words=words)


def _quoted(candidate: _Candidate) -> str:
    """The sentence with its source. A marker on the line that closes a code block would keep it open."""
    return f"{candidate.text}{chr(10) if candidate.text.endswith(FENCE) else ' '}{marker(candidate.passage)}"


def _terms(text: str) -> frozenset[str]:
    """Words that carry meaning, lower-case, without their commonest endings."""
    return frozenset(_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS)


@lru_cache(maxsize=50_000)  # most of the time of an answer went into stemming the same words again
def _stem(word: str) -> str:
    return _SUFFIX.sub("", word)


def _tokens(texts: Iterable[str]) -> int:
    return math.ceil(sum(len(text.split()) for text in texts) * TOKENS_PER_WORD)
