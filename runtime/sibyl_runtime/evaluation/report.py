"""What a run came to: the measures over all questions with their intervals, and how two runs differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sibyl_runtime.evaluation.bootstrap import Bootstrap, Estimate
from sibyl_runtime.evaluation.metrics import Judgements, Scores, ndcg, recall, reciprocal_rank
from sibyl_runtime.evaluation.questions import Question

Measure = Callable[[Scores, Judgements], float]
FEWEST_QUESTIONS: Final = 10
"""To compare by. That five questions all happen to be better in one of two equal configurations is as likely as 1 in 16
times; of ten, 1 in 512."""
LATENCIES: Mapping[str, float] = {"p50_ms": 50, "p95_ms": 95}


@dataclass(frozen=True)
class Answer:
    """What one question brought. `documents` are ids, each once, best first. `seconds` is None where the answer had
    to be waited for, so that its time says nothing; `cached` where it was not worked out."""

    documents: tuple[str, ...]
    seconds: float | None
    cached: bool = False


@dataclass(frozen=True)
class Run:
    """The measures of one configuration, by name. `latency` is in milliseconds, one question at a time; empty when
    no answer was timed. `by_question` has the values of each question, in the order of the questions."""

    name: str
    measures: Mapping[str, Estimate]
    latency: Mapping[str, Estimate]
    by_question: Mapping[str, Sequence[float]]
    from_cache: int
    most_documents: int


@dataclass(frozen=True)
class Difference:
    """The second configuration less the first, over the same `questions`."""

    estimate: Estimate
    questions: int

    @property
    def enough(self) -> bool:
        """Whether the interval can be trusted: few questions drawn again and again are all alike."""
        return self.questions >= FEWEST_QUESTIONS

    @property
    def shown(self) -> bool:
        """Whether the difference is more than chance in the choice of questions."""
        return self.enough and self.estimate.excludes_zero


@dataclass(frozen=True)
class Report:
    """One run, or two and how they differ: `differences` by measure, and `ms` the mean difference of the times."""

    questions: int
    runs: tuple[Run, ...]
    differences: Mapping[str, Difference]
    method: Bootstrap


def measure_names(cutoffs: Sequence[int]) -> list[str]:
    """ndcg@k and recall@k for each k, and mrr."""
    return list(_measures(cutoffs))


def report(
    questions: Sequence[Question],
    answers: Mapping[str, Sequence[Answer]],
    cutoffs: Sequence[int],
    method: Bootstrap,
) -> Report:
    """The report of one or two configurations; `answers` by their names, in the order of the questions."""
    runs = tuple(_run(name, questions, given, cutoffs, method) for name, given in answers.items())
    compared = list(answers.values())
    differences = {}
    if len(runs) == 2:
        first, second = runs
        differences = {
            name: _difference(values, second.by_question[name], method) for name, values in first.by_question.items()
        }
        if times := _timed_twice(*compared):
            differences["ms"] = _difference([one for one, _ in times], [other for _, other in times], method)
    return Report(len(questions), runs, differences, method)


def _measures(cutoffs: Sequence[int]) -> dict[str, Measure]:
    found: dict[str, Measure] = {}
    for k in sorted(set(cutoffs)):
        found |= {f"ndcg@{k}": partial(ndcg, k=k), f"recall@{k}": partial(recall, k=k)}
    return {**found, "mrr": reciprocal_rank}


def _run(
    name: str, questions: Sequence[Question], answers: Sequence[Answer], cutoffs: Sequence[int], method: Bootstrap
) -> Run:
    by_question = {
        measure: [
            compute(_scores(answer.documents), question.grades)
            for question, answer in zip(questions, answers, strict=True)
        ]
        for measure, compute in _measures(cutoffs).items()
    }
    times = [answer.seconds * 1000 for answer in answers if answer.seconds is not None]
    return Run(
        name,
        {measure: method.mean(values) for measure, values in by_question.items()},
        {each: method.percentile(times, percent) for each, percent in LATENCIES.items()} if times else {},
        by_question,
        sum(answer.cached for answer in answers),
        max(len(answer.documents) for answer in answers),
    )


def _scores(documents: Sequence[str]) -> Scores:
    """The order is the judgement: a hit's own score is a similarity, and a ranking need not follow it."""
    return {document: 1 / rank for rank, document in enumerate(documents, start=1)}


def _timed_twice(first: Sequence[Answer], second: Sequence[Answer]) -> list[tuple[float, float]]:
    return [
        (one.seconds * 1000, other.seconds * 1000)
        for one, other in zip(first, second, strict=True)
        if one.seconds is not None and other.seconds is not None
    ]


def _difference(first: Sequence[float], second: Sequence[float], method: Bootstrap) -> Difference:
    estimate = method.mean([other - one for one, other in zip(first, second, strict=True)])
    return Difference(estimate, len(first))
