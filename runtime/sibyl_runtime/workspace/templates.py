"""Templates that choose a provider: `{% if complexity < 0.7 %}simple{% else %}complex{% endif %}`.

The language is Jinja, run in its immutable sandbox and cut down to what a choice needs: text, `{% if %}`, comparisons,
`and`, `or`, `not`, `in`, constants and the variables below. Nothing that reaches into an object, calls, loops or sets
is read at all, so no template can do more than choose between words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise, product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jinja2 import Template, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

LARGEST_NUMBER: Final = 1e15
LONGEST_TEMPLATE: Final = 1000
"""Characters. What is longer is not a choice between providers, and its reading could be made expensive."""

MOST_TRIED: Final = 10_000
"""Combinations of values that are tried: a template is judged in less than a second, whatever it holds."""

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "complexity": "how complex infrastructure.query_classifier found the question, 0 to 1",
        "is_complex": "whether that reaches its complexity_threshold",
        "query": "the question, as text",
    }
)
"""What a template may use."""

FROM_CLASSIFIER: Final = frozenset({"complexity", "is_complex"})
"""The variables that need a step infrastructure.query_classifier before the template's."""

FILTERS: Final = frozenset({"length", "lower", "trim"})

_JINJA = re.compile(r"\{\{|\{%|\{#")
_ALLOWED: Final = frozenset(
    {
        "Template", "Output", "TemplateData", "If", "CondExpr", "Compare", "Operand", "And", "Or", "Not", "Neg",
        "Const", "Name", "List", "Tuple", "Filter",
    }
)  # fmt: skip
_REACHING: Final = frozenset({"Getattr", "Getitem", "Slice"})


class TemplateInvalid(ValueError):
    """A template that cannot be read; the message says what is wrong, what is allowed and what to do."""


class ChoiceFailed(ValueError):
    """A template that was read, and cannot be evaluated with these values."""


def is_template(text: str) -> bool:
    """True when `text` is meant as a template."""
    return _JINJA.search(text) is not None


@dataclass(frozen=True)
class Outcome:
    """What a template chose, or the words of why it could not, for values that were tried."""

    values: Mapping[str, Any]
    chosen: str | None
    failure: str | None = None


@dataclass(frozen=True)
class ChoiceTemplate:
    """A template that was read. `variables` are the names that it uses."""

    text: str
    variables: frozenset[str]
    _constants: tuple[object, ...]
    _template: Template

    @classmethod
    def parse(cls, text: str) -> ChoiceTemplate:
        """Read a template. Raises TemplateInvalid."""
        return _parse(text)

    def choose(self, values: Mapping[str, Any]) -> str:
        """The text that the template makes of `values`, without white space around it. Raises ChoiceFailed."""
        from jinja2 import TemplateError

        try:
            return self._template.render({name: values[name] for name in self.variables if name in values}).strip()
        except (TemplateError, TypeError) as error:
            raise ChoiceFailed(str(error)) from error

    def outcomes(self, threshold: float | None) -> Iterator[Outcome]:
        """Every different outcome among the values that decide: around each number that the template compares with.

        By `complexity` and `is_complex` that is every outcome there is. Of questions only those are tried that the
        template itself quotes. `threshold` is that of the classifier, None where it is not known: then a template
        that uses `is_complex` is not tried.
        """
        if threshold is None and "is_complex" in self.variables:
            return
        seen: set[tuple[str | None, str | None]] = set()
        for complexity, query in islice(product(self._complexities(threshold), self._questions()), MOST_TRIED):
            values = {"complexity": complexity, "is_complex": complexity >= (threshold or 0.0), "query": query}
            used = {name: value for name, value in values.items() if name in self.variables}
            outcome = self._outcome(used)
            if (outcome.chosen, outcome.failure) not in seen:
                seen.add((outcome.chosen, outcome.failure))
                yield outcome

    def _outcome(self, values: Mapping[str, Any]) -> Outcome:
        try:
            return Outcome(values, self.choose(values))
        except ChoiceFailed as error:
            return Outcome(values, None, str(error))

    def _complexities(self, threshold: float | None) -> list[float]:
        numbers = {float(c) for c in self._constants if isinstance(c, int | float) and not isinstance(c, bool)}
        numbers |= set() if threshold is None else {threshold}
        edges = sorted({0.0, 1.0, *(number for number in numbers if 0 <= number <= 1)})
        return sorted({*edges, *((low + high) / 2 for low, high in pairwise(edges))})

    def _questions(self) -> list[str]:
        if "query" not in self.variables:
            return [""]
        quoted = [c for c in self._constants if isinstance(c, str)]
        # The length of a question may be compared with a number: one below it, at it, and above it.
        lengths = (c for c in self._constants if isinstance(c, int) and not isinstance(c, bool) and 0 < c < 10_000)
        around = ["x" * length for number in lengths for length in (number - 1, number, number + 1)]
        return list(dict.fromkeys(["", *quoted, " ".join(quoted), *around]))


@lru_cache(maxsize=256)
def _parse(text: str) -> ChoiceTemplate:
    from jinja2 import TemplateSyntaxError

    if len(text) > LONGEST_TEMPLATE:
        raise TemplateInvalid(f"holds a template of {len(text)} characters; allowed: {LONGEST_TEMPLATE}")
    environment = _environment()
    try:
        tree = environment.parse(text)
        found = list(_walk(tree))
        for node in found:
            _judge(node)
        constants = tuple(vars(node)["value"] for node in found if type(node).__name__ == "Const")
        if any(isinstance(number, int | float) and abs(number) > LARGEST_NUMBER for number in constants):
            raise TemplateInvalid("holds a template with a number that is too large; compare with one from 0 to 1")
        template = environment.from_string(tree)
    except TemplateSyntaxError as error:
        raise TemplateInvalid(f"holds a template that cannot be read: {error.message}, line {error.lineno}") from error
    except (RecursionError, SyntaxError) as error:
        raise TemplateInvalid("holds a template that is nested too deeply; make it flatter") from error
    names = {str(vars(node)["name"]) for node in found if type(node).__name__ == "Name"}
    return ChoiceTemplate(text, frozenset(names), constants, template)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    # Imported where the first template is read: most documents hold none, and the library takes 40 ms.
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.tests.clear()
    return environment


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for inner in node.iter_child_nodes():
        yield from _walk(inner)


def _judge(node: nodes.Node) -> None:
    """Raises TemplateInvalid for anything that a choice does not need."""
    kind, attributes = type(node).__name__, vars(node)
    if kind in _REACHING:
        reached = f" (.{attributes['attr']})" if "attr" in attributes else ""
        raise TemplateInvalid(
            f"holds a template that reaches into a value{reached}; a template may compare values, not reach into them; "
            + _usable()
        )
    if kind == "Name" and attributes["name"] not in VARIABLES:
        raise TemplateInvalid(f'holds a template that uses "{attributes["name"]}", which does not exist; {_usable()}')
    if kind == "Filter" and attributes["name"] not in FILTERS:
        allowed = ", ".join(sorted(FILTERS))
        raise TemplateInvalid(f"holds a template with the filter {attributes['name']}; allowed: {allowed}")
    if kind not in _ALLOWED:
        raise TemplateInvalid(
            f"holds a template with {_KINDS.get(kind, kind)}; allowed: text, {{% if %}}, comparisons, and, or, not, "
            f"in; {_usable()}"
        )


_KINDS: Mapping[str, str] = {
    "Call": "a call", "For": "a loop", "Assign": "{% set %}", "Macro": "a macro", "Include": "{% include %}",
    "Import": "{% import %}", "FromImport": "{% from %}", "Extends": "{% extends %}", "Block": "{% block %}",
    "Test": "a test by `is`", "Mul": "arithmetic", "Add": "arithmetic", "Sub": "arithmetic", "Div": "arithmetic",
    "FloorDiv": "arithmetic", "Mod": "arithmetic", "Pow": "arithmetic", "Concat": "arithmetic", "Dict": "a mapping",
}  # fmt: skip


def _usable() -> str:
    return f"variables: {', '.join(VARIABLES)}"
