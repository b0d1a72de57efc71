"""Conditions of steps: a small language of comparisons, parsed once and never handed to an interpreter.

    condition  = and-part { "or" and-part }
    and-part   = not-part { "and" not-part }
    not-part   = "not" not-part | comparison
    comparison = operand [ ( < <= > >= == != | in | not in ) operand ]
    operand    = ${step.field} | ${parameter} | number | 'text' | "text" | true | false | null
               | "[" operand, ... "]" | "(" condition ")"

The value of a condition is a boolean or an error: nothing is ever taken for true or false because it is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sibyl_runtime.workspace.comparison import (
    ConditionError,
    Results,
    boolean,
    compare,
    parameter_value,
    result_value,
)
from sibyl_runtime.workspace.references import MalformedReference, Reference, references

_LONGEST = 2000
_DEEPEST = 40

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<reference>\$\{[^}]*\})
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<word>[A-Za-z_]\w*)
      | (?P<symbol><=|>=|==|!=|[<>()\[\],])
    )""",
    re.VERBOSE,
)
_CONSTANTS: Mapping[str, Any] = {
    "true": True, "false": False, "null": None, "True": True, "False": False, "None": None,
}  # fmt: skip
_COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "in", "not in"})


@dataclass(frozen=True)
class _Values:
    """`whole`: every part is worked out, also where one of them has settled the matter."""

    results: Results
    parameters: Mapping[str, Any]
    whole: bool = False


_Evaluate = Callable[[_Values], Any]


@dataclass(frozen=True)
class Condition:
    """A condition that was read. `references` are (step, field) pairs, `parameters` names; both in order, once each."""

    text: str
    references: tuple[tuple[str, str], ...]
    parameters: tuple[str, ...]
    _evaluate: _Evaluate = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition. Raises ConditionError."""
        parser = _Parser(text)
        evaluate = parser.whole()
        return cls(text, tuple(dict.fromkeys(parser.results)), tuple(dict.fromkeys(parser.parameters)), evaluate)

    def evaluate(self, results: Results, parameters: Mapping[str, Any]) -> bool:
        """The condition's value. Raises ConditionError when values do not compare, NoResult when a step has none."""
        return self._boolean(_Values(results, parameters))

    def check(self, results: Results, parameters: Mapping[str, Any]) -> None:
        """Raises ConditionError where values of the kinds of these never compare, in any part of the condition."""
        self._boolean(_Values(results, parameters, whole=True))

    def _boolean(self, values: _Values) -> bool:
        try:
            return boolean(self._evaluate(values), "the condition")
        except ConditionError as error:
            raise type(error)(f'"{self.text}": {error}') from None


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


class _Parser:
    """Recursive descent over the tokens; each method returns the closure that computes what it read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0
        self._depth = 0
        self.results: list[tuple[str, str]] = []
        self.parameters: list[str] = []

    def whole(self) -> _Evaluate:
        evaluate = self._either()
        if self._peek().kind != "end":
            raise self._unexpected("and, or, or the end")
        return evaluate

    def _split(self) -> list[_Token]:
        if len(self._text) > _LONGEST:
            raise ConditionError(f"the condition has {len(self._text)} characters; at most {_LONGEST} are allowed")
        tokens: list[_Token] = []
        end = len(self._text.rstrip())
        at = 0
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                start = at + len(self._text[at:]) - len(self._text[at:].lstrip())
                raise self._error(start, f"cannot read {self._text[start:].strip()[:20]!r}")
            tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        return [*tokens, _Token("end", "", end)]

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> str | None:
        """Consume the next token when it is one of these words or symbols."""
        token = self._peek()
        if token.kind in ("word", "symbol") and token.text in texts:
            self._next += 1
            return token.text
        return None

    def _error(self, column: int, message: str) -> ConditionError:
        shown = self._text if len(self._text) <= 200 else f"{self._text[:200]}…"
        return ConditionError(f'"{shown}": {message} (column {column + 1})')

    def _unexpected(self, wanted: str) -> ConditionError:
        token = self._peek()
        return self._error(token.column, f"expected {wanted}, found {token.text or 'the end'}")

    def _either(self) -> _Evaluate:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda values: any(_parts(parts, values, "or"))

    def _both(self) -> _Evaluate:
        parts = [self._negated()]
        while self._take("and"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else lambda values: all(_parts(parts, values, "and"))

    def _negated(self) -> _Evaluate:
        count = 0
        while self._take("not"):
            count += 1
        inner = self._comparison()
        if count == 0:
            return inner
        return lambda values: boolean(inner(values), "not") == (count % 2 == 0)

    def _comparison(self) -> _Evaluate:
        left = self._operand()
        operator = self._operator()
        if operator is None:
            return left
        right = self._operand()
        if self._operator() is not None:
            self._next -= 1
            raise self._error(self._peek().column, "comparisons do not chain; join two of them with and")
        return lambda values: compare(left(values), operator, right(values))

    def _operator(self) -> str | None:
        if self._take("not"):
            if not self._take("in"):
                raise self._unexpected('"in" after "not"')
            return "not in"
        return self._take("<", "<=", ">", ">=", "==", "!=", "in")

    def _operand(self) -> _Evaluate:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(self._peek().column, f"nested deeper than {_DEEPEST}")
        try:
            return self._operand_inside()
        finally:
            self._depth -= 1

    def _operand_inside(self) -> _Evaluate:
        if self._take("("):
            inner = self._either()
            if not self._take(")"):
                raise self._unexpected('")"')
            return inner
        if self._take("["):
            return self._list()
        token = self._peek()
        value: Any
        if token.kind == "reference":
            self._next += 1
            return self._reference(token)
        if token.kind == "number":
            value = float(token.text) if set(token.text) & set(".eE") else int(token.text)
        elif token.kind == "text":
            value = re.sub(r"\\(.)", r"\1", token.text[1:-1])
        elif token.kind == "word" and token.text in _CONSTANTS:
            value = _CONSTANTS[token.text]
        else:
            raise self._unexpected("a ${reference}, a number, quoted text, true, false, null, a list or (")
        self._next += 1
        return lambda values: value

    def _list(self) -> _Evaluate:
        items: list[_Evaluate] = []
        while not self._take("]"):
            if items and not self._take(","):
                raise self._unexpected('"," or "]"')
            items.append(self._operand())
        return lambda values: [item(values) for item in items]

    def _reference(self, token: _Token) -> _Evaluate:
        try:
            reference = next(references(token.text))
        except MalformedReference as error:
            raise self._error(token.column, str(error)) from None
        if reference.kind == "environment":
            raise self._error(token.column, f"{reference.text} is of the environment; use a parameter instead")
        if reference.default is not None:
            raise self._error(token.column, f"{reference.text}: a default is not allowed in a condition")
        return self._value_of(reference)

    def _value_of(self, reference: Reference) -> _Evaluate:
        name = reference.name
        if reference.kind == "parameter":
            self.parameters.append(name)
            return lambda values: parameter_value(values.parameters, name)
        step, _, result = name.partition(".")
        self.results.append((step, result))
        return lambda values: result_value(values.results, step, result)


def _parts(parts: Sequence[_Evaluate], values: _Values, word: str) -> Iterable[bool]:
    found = (boolean(part(values), word) for part in parts)
    return list(found) if values.whole else found
