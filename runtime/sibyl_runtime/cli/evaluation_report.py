"""How an evaluation looks on a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sibyl_runtime.cli.output import plural, table
from sibyl_runtime.evaluation import FEWEST_QUESTIONS, Difference, Estimate, Report

_MILLISECONDS = ("p50_ms", "p95_ms", "ms")


def as_document(found: Report, notes: Sequence[str], missed: Mapping[str, float]) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "questions": found.questions,
        "method": {
            "interval": "percentile bootstrap over questions",
            "confidence": found.method.confidence,
            "resamples": found.method.resamples,
            "seed": found.method.seed,
        },
        "runs": [
            {
                "target": run.name,
                "measures": run.measures,
                "latency": run.latency,
                "from_cache": run.from_cache,
                "by_question": run.by_question,
            }
            for run in found.runs
        ],
        "differences": {
            name: {
                **vars(difference.estimate),
                "excludes_zero": difference.estimate.excludes_zero,
                "shown": difference.shown,
            }
            for name, difference in found.differences.items()
        },
        "below": [
            {"measure": name, "least": least, "found": found.runs[0].measures[name].value}
            for name, least in missed.items()
        ],
        "notes": list(notes),
    }


def lines(found: Report, notes: Sequence[str], missed: Mapping[str, float]) -> list[str]:
    """The report for people: a row for each figure, a column for each configuration, and what differs."""
    method = found.method
    first = found.runs[0]
    compared = len(found.runs) == 2
    head = ["", *(run.name for run in found.runs), *(["difference", ""] if compared else [])]
    rows = [head]
    for name in [*first.measures, *first.latency]:
        row = [_label(name), *(_cell(name, {**run.measures, **run.latency}.get(name)) for run in found.runs)]
        difference = found.differences.get(name)
        rows.append([*row, *(_difference_cells(name, difference) if compared else [])])
    if (spent := found.differences.get("ms")) is not None:
        rows.append(["mean time", "", "", *_difference_cells("ms", spent)])
    return [
        f"{plural(found.questions, 'question')}   {method.confidence:.0%} intervals: percentile bootstrap over "
        f"questions, {method.resamples:,} resamples, seed {method.seed}",
        "",
        *table(rows),
        *([""] if notes or missed else []),
        *(f"note: {note}" for note in notes),
        *(
            f"below: {name} is {first.measures[name].value:.4f}, --fail-below asks for {least:g}"
            for name, least in missed.items()
        ),
    ]


def _label(name: str) -> str:
    return f"{name.removesuffix('_ms')} of the times" if name in _MILLISECONDS else name


def _cell(name: str, estimate: Estimate | None) -> str:
    """`0.4252  [0.3941, 0.4562]`."""
    if estimate is None:
        return "not timed"
    if name in _MILLISECONDS:
        return f"{estimate.value:.1f} ms  [{estimate.low:.1f}, {estimate.high:.1f}]"
    return f"{estimate.value:.4f}  [{estimate.low:.4f}, {estimate.high:.4f}]"


def _difference_cells(name: str, difference: Difference | None) -> list[str]:
    """`+0.0253  [+0.0101, +0.0405]`, and what that says."""
    if difference is None:
        return ["", ""]
    estimate = difference.estimate
    timed = name in _MILLISECONDS
    digits, unit = (1, " ms") if timed else (4, "")
    shown = f"{estimate.value:+.{digits}f}{unit}  [{estimate.low:+.{digits}f}, {estimate.high:+.{digits}f}]"
    if not difference.enough:
        return [shown, f"too few questions to compare by: {FEWEST_QUESTIONS} are the least"]
    if not difference.shown:
        return [shown, "no difference shown: the interval includes 0"]
    words = ("slower", "faster") if timed else ("better", "worse")
    return [shown, f"{words[0] if estimate.value > 0 else words[1]}: the interval excludes 0"]
