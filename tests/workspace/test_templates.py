"""Templates of a provider: what is read, what is refused and in which words, and that all outcomes are found."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.workspace import ChoiceFailed, ChoiceTemplate, TemplateInvalid, is_template
from sibyl_runtime.workspace.templates import LONGEST_TEMPLATE, VARIABLES

GUIDE = "{% if complexity < 0.7 %}simple{% else %}complex{% endif %}\n"
USABLE = "variables: complexity, is_complex, query"
ATTRIBUTES = "a template may compare values, not reach into them; " + USABLE


def choose(text: str, **values: Any) -> str:
    return ChoiceTemplate.parse(text).choose({"complexity": 0.5, "is_complex": False, "query": "why", **values})


def outcomes(text: str, threshold: float | None = 0.7) -> set[str | None]:
    return {outcome.chosen for outcome in ChoiceTemplate.parse(text).outcomes(threshold)}


@pytest.mark.parametrize(
    ("text", "values", "chosen"),
    [
        (GUIDE, {"complexity": 0.69}, "simple"),
        (GUIDE, {"complexity": 0.7}, "complex"),
        ("{{ 'big' if is_complex else 'small' }}", {"is_complex": True}, "big"),
        ("{% if 'price' in query|lower %}sales{% else %}docs{% endif %}", {"query": "The PRICE?"}, "sales"),
        ("{% if query|length > 5 and not is_complex %}a{% elif complexity in [0.5] %}b{% endif %}", {}, "b"),
        ("{% if 0.2 < complexity < 0.8 or false %}mid{% endif %}", {}, "mid"),
        ("  gpt-{# the small one #}4 ", {}, "gpt-4"),
    ],
)
def test_a_template_chooses_by_its_variables(text: str, values: dict[str, Any], chosen: str) -> None:
    assert is_template(text)
    assert choose(text, **values) == chosen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ ''.__class__ }}", f"holds a template that reaches into a value (.__class__); {ATTRIBUTES}"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "holds a template with a call; "),
        ("{{ query.upper }}", f"holds a template that reaches into a value (.upper); {ATTRIBUTES}"),
        ("{{ query['__class__'] }}", f"holds a template that reaches into a value; {ATTRIBUTES}"),
        ("{{ query[0:2] }}", f"holds a template that reaches into a value; {ATTRIBUTES}"),
        ("{{ query|attr('__class__') }}", "holds a template with the filter attr; allowed: length, lower, trim"),
        ("{{ query|map('upper') }}", "holds a template with the filter map; allowed: length, lower, trim"),
        ("{{ secret }}", f'holds a template that uses "secret", which does not exist; {USABLE}'),
        ("{{ self }}", f'holds a template that uses "self", which does not exist; {USABLE}'),
        ("{% if Complexity < 1 %}a{% endif %}", 'holds a template that uses "Complexity", which does not exist; '),
        ("{{ range(9) }}", "holds a template with a call; allowed: text, {% if %}, comparisons, and, or, not, in; "),
        ("{{ cycler() }}", "holds a template with a call; "),
        ("{% for a in [1, 2] %}a{% endfor %}", "holds a template with a loop; "),
        ("{% set a = 1 %}{{ a }}", "holds a template with {% set %}; "),
        ("{% macro m() %}a{% endmacro %}", "holds a template with a macro; "),
        ("{% include 'x' %}", "holds a template with {% include %}; "),
        ("{% import 'x' as y %}", "holds a template with {% import %}; "),
        ("{{ 'a' * 99999999999 }}", "holds a template with arithmetic; "),
        ("{{ 2 ** 99999999 }}", "holds a template with arithmetic; "),
        ("{{ query ~ 'a' }}", "holds a template with arithmetic; "),
        ("{{ query is defined }}", "holds a template with a test by `is`; "),
        ("{% if complexity < 1e999 %}a{% endif %}", "holds a template with a number that is not finite; compare with "),
        ("{% if complexity < 0.7 %}a", "holds a template that cannot be read: Unexpected end of template"),
        ("{{ }}", "holds a template that cannot be read: Expected an expression, got 'end of print statement', line 1"),
        ("{{" + "-" * 990 + "1}}", "holds a template that is nested too deeply; make it flatter"),
        ("{{ 1 }}" + "x" * LONGEST_TEMPLATE, "holds a template of 1007 characters; allowed: 1000"),
    ],
)
def test_what_a_choice_does_not_need_is_refused(text: str, message: str) -> None:
    with pytest.raises(TemplateInvalid) as caught:
        ChoiceTemplate.parse(text)
    assert message in str(caught.value)


@given(st.text(alphabet="{}%# if else endif complexity<0.7'query|_.()[]", max_size=120))
def test_any_text_is_read_or_refused_and_never_breaks(text: str) -> None:
    try:
        template = ChoiceTemplate.parse(text)
    except TemplateInvalid:
        return
    assert template.variables <= VARIABLES.keys()
    try:
        assert isinstance(template.choose({"complexity": 0.1, "is_complex": True, "query": "q"}), str)
    except ChoiceFailed:
        return


@pytest.mark.parametrize(
    ("text", "threshold", "found"),
    [
        (GUIDE, 0.7, {"simple", "complex"}),
        ("{% if complexity == 0.3 %}odd{% else %}even{% endif %}", None, {"odd", "even"}),
        ("{% if 0.4 < complexity < 0.41 %}narrow{% else %}rest{% endif %}", None, {"narrow", "rest"}),
        ("{% if complexity > 1 %}never{% else %}always{% endif %}", None, {"always"}),
        ("{% if is_complex %}big{% endif %}{% if complexity < 0.9 %}small{% endif %}", 0.9, {"big", "small"}),
        ("{% if is_complex %}big{% endif %}", None, set()),
        ("{% if 'price' in query %}sales{% else %}docs{% endif %}", None, {"sales", "docs"}),
        ("{% if query|length > 300 %}long{% else %}short{% endif %}", None, {"long", "short"}),
        ("{% if query|length == 37 %}odd{% else %}even{% endif %}", None, {"odd", "even"}),
        ("{% if query < 3 %}a{% endif %}", None, {None}),
    ],
)
def test_every_outcome_is_found(text: str, threshold: float | None, found: set[str | None]) -> None:
    assert outcomes(text, threshold) == found


@given(st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=6), st.floats(0, 1, allow_nan=False))
def test_no_complexity_has_an_outcome_that_was_not_found(edges: list[float], complexity: float) -> None:
    branches = "".join(f"{{% elif complexity < {edge!r} %}}p{n}" for n, edge in enumerate(edges))
    text = "{% if false %}" + branches + "{% else %}last{% endif %}"
    assert choose(text, complexity=complexity) in outcomes(text)


def test_a_variable_that_is_not_there_is_an_error_and_not_empty() -> None:
    with pytest.raises(ChoiceFailed, match="'complexity' is undefined"):
        ChoiceTemplate.parse(GUIDE).choose({"query": "why"})


def test_a_document_without_templates_does_not_pay_for_the_library() -> None:
    program = "import sys, sibyl_runtime.workspace as w; w.parse_workspace({}); sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_sandbox_holds_nothing_to_misuse() -> None:
    """What is read is bounded twice: by the nodes that are allowed, and by an environment without globals."""
    template = ChoiceTemplate.parse(GUIDE)
    environment = template._template.environment
    assert type(environment).__name__ == "ImmutableSandboxedEnvironment"
    assert (environment.globals, environment.tests, sorted(environment.filters)) == (
        {},
        {},
        ["length", "lower", "trim"],
    )
