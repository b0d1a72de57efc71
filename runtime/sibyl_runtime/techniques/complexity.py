"""How complex a question is, by rules that can be read: no model is asked, and nothing but the text counts.

Each rule that fires adds its weight, and the sum, at most 1, is the complexity. So a reader can add up the explanation
that comes with an answer, and a question that fires one rule more is never judged simpler.

| rule | fires on | weight |
|---|---|---|
| `length` | more than 8 words | rises evenly to 0.3 at 40 words |
| `questions` | a further question: a second question mark, or `and how`, `, why` ... | 0.25 each, at most 0.5 |
| `comparison` | compare, versus, difference, better than, pros and cons ... | 0.4 |
| `reasoning` | why, explain, analyse, trade-off, should, what happens ... | 0.4 |
| `conjunctions` | and, or, but, also, then ... | 0.1 each, at most 0.2 |
| `conditions` | if, when, unless, assuming, given that ... | 0.15 |
| `exclusions` | except, without, not, rather than ... | 0.1 |
| `numbers` | two numbers or more | 0.1 |

The words are English. In another language `length`, `questions` by their marks, and `numbers` still count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LONGEST_READ = 4000
"""Characters that are looked at: a question as long as this is as complex as length can make it."""
MOST_SHOWN = 5
"""Words that an explanation holds for one rule."""

SHORT_WORDS, LONG_WORDS, LENGTH_WEIGHT = 8, 40, 0.3


@dataclass(frozen=True)
class FiredRule:
    """A rule that added to the complexity. `found` holds the words that it fired on, in order, at most MOST_SHOWN."""

    rule: str
    weight: float
    found: tuple[str, ...]


@dataclass(frozen=True)
class Complexity:
    """`value` is 0 to 1: the sum of the weights of `fired`, at most 1."""

    value: float
    fired: tuple[FiredRule, ...]


@dataclass(frozen=True)
class _WordRule:
    """Fires on `pattern`: `each` for every different match, at most `most`; `free` matches do not count."""

    rule: str
    pattern: re.Pattern[str]
    each: float
    most: float
    free: int = 0

    def __call__(self, text: str) -> FiredRule | None:
        found = [match.group().strip(" ,;") for match in self.pattern.finditer(text)]
        counted = found[self.free :]
        if not counted:
            return None
        return FiredRule(self.rule, min(self.most, round(self.each * len(counted), 4)), tuple(counted[:MOST_SHOWN]))


def _words(rule: str, weight: float, *alternatives: str, most: float | None = None) -> _WordRule:
    """A rule over whole words; without `most` it fires once, however often the words come."""
    pattern = re.compile(rf"\b(?:{'|'.join(alternatives)})\b")
    return _WordRule(rule, pattern, weight, weight if most is None else most)


def _length(text: str) -> FiredRule | None:
    words = len(text.split())
    share = min(1.0, (words - SHORT_WORDS) / (LONG_WORDS - SHORT_WORDS))
    return FiredRule("length", round(LENGTH_WEIGHT * share, 4), (f"{words} words",)) if share > 0 else None


_ASKING = "what|which|who|whom|whose|where|when|why|how"
_MARKS = re.compile(r"[?？؟]+")
_FURTHER = re.compile(rf"(?:\b(?:and|or|then|also)|[,;])\s+(?:{_ASKING})\b")
QUESTION_WEIGHT, QUESTIONS_MOST = 0.25, 0.5


def _questions(text: str) -> FiredRule | None:
    """By marks or by words, whichever tells of more: `why, and how?` is two questions under one mark."""
    marks, further = _MARKS.findall(text)[1:], [match.group().strip(" ,;") for match in _FURTHER.finditer(text)]
    found = marks if len(marks) > len(further) else further
    if not found:
        return None
    return FiredRule("questions", min(QUESTIONS_MOST, QUESTION_WEIGHT * len(found)), tuple(found[:MOST_SHOWN]))


_RULES: tuple[Callable[[str], FiredRule | None], ...] = (
    _length,
    _questions,
    _words(
        "comparison", 0.4,
        "compar(?:e|es|ed|ing|ison|isons)", "versus", "vs", "differences?", "differs?", "different from", "distinguish",
        "better", "worse", "best", "worst", "faster", "slower", "cheaper", "pros and cons", "advantages?",
        "disadvantages?", "alternatives?", "similarit(?:y|ies)", "contrast", "prefer(?:red|able)?",
    ),
    _words(
        "reasoning", 0.4,
        "why", "explain", "analy[sz]e", "analysis", "evaluate", "assess", "justify", "reasons?", "causes?", "because",
        "trade-?offs?", "implications?", "consequences?", "impact", "affects?", "should", "recommend", "what happens",
        "how (?:does|do|would|could|can) .{1,80} (?:work|interact|relate|influence)", "step by step", "design",
        "derive",
    ),
    _words("conjunctions", 0.1, "and", "or", "but", "also", "then", "as well as", "while", "whereas", most=0.2),
    _words(
        "conditions", 0.15,
        "if", "(?<!^)when", "unless", "assuming", "suppose", "given that", "provided that", "in case", "depending on",
    ),
    _words("exclusions", 0.1, "except", "without", "not", "rather than", "instead of", "other than", "excluding"),
    _WordRule("numbers", re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*"), 0.1, 0.1, free=1),
)  # fmt: skip


def complexity(question: str) -> Complexity:
    """Judge a question. Deterministic; the empty question is 0."""
    text = question[:LONGEST_READ].lower().strip()
    fired = tuple(rule for rule in (judge(text) for judge in _RULES) if rule is not None)
    return Complexity(min(1.0, round(sum(rule.weight for rule in fired), 4)), fired)


def shown(rule: FiredRule) -> Mapping[str, object]:
    """A rule as the response shows it."""
    return {"rule": rule.rule, "weight": rule.weight, "found": list(rule.found)}
