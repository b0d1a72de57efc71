"""Conditions: what they mean, what they refuse, and that nothing in them is ever run."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sibyl_runtime.workspace import Condition, ConditionError

RESULTS: dict[str, dict[str, Any]] = {
    "retrieval": {"avg_score": 0.7, "count": 3, "chunks": ["a", "b"], "top_score": Decimal("0.9"), "none": None},
    "classify": {"complexity": "complex", "is_safe": True},
}
PARAMETERS: dict[str, Any] = {"rerank": True, "top_k": 5, "language": "en", "absent": None}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${retrieval.avg_score} < 0.8", True),
        ("${retrieval.avg_score} < 0.7", False),
        ("${retrieval.avg_score} <= 0.7", True),
        ("${retrieval.count} > 2", True),
        ("${retrieval.count} >= 4", False),
        ("${retrieval.count} == 3", True),
        ("${retrieval.count} == 3.0", True),
        ("${retrieval.count} != 3", False),
        ("${retrieval.top_score} > ${retrieval.avg_score}", True),
        ("-1 < ${retrieval.count}", True),
        ("1e-3 < ${retrieval.avg_score}", True),
        ('${classify.complexity} == "complex"', True),
        ("${classify.complexity} != 'simple'", True),
        (r"'it\'s' == 'it\'s'", True),
        ("'a' < 'b'", True),
        ("${classify.is_safe}", True),
        ("not ${classify.is_safe}", False),
        ("not not ${classify.is_safe}", True),
        ("(${classify.is_safe})", True),
        ("${rerank}", True),
        ("${rerank} == true", True),
        ("${rerank} == False", False),
        ("${absent} == null", True),
        ("${retrieval.none} != None", False),
        ("${top_k} == null", False),
        ("${language} in ['en', 'de']", True),
        ("${language} not in ['en', 'de']", False),
        ("${top_k} in ['5']", False),
        ("${top_k} in []", False),
        ("'omp' in ${classify.complexity}", True),
        ("'a' in ${retrieval.chunks}", True),
        ("['a', 'b'] == ${retrieval.chunks}", True),
        ("${rerank} and ${top_k} > 3", True),
        ("${rerank} and ${top_k} > 9", False),
        ("${top_k} > 9 or ${rerank}", True),
        ("${top_k} > 9 or ${rerank} and ${top_k} > 9", False),
        ("(${top_k} > 9 or ${rerank}) and ${top_k} < 9", True),
        ("not ${top_k} > 9", True),
        ("not ${rerank} or ${rerank}", True),
        ("  ${rerank}\n", True),
        ("true", True),
    ],
)
def test_a_condition_has_the_value_that_it_says(text: str, value: bool) -> None:
    assert Condition.parse(text).evaluate(RESULTS, PARAMETERS) is value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", '"": expected a ${reference}, a number, quoted text, true, false, null, a list or (, found the end'),
        ("${retrieval.avg_score} <", "found the end (column 25)"),
        ("${retrieval.avg_score} < 0.8 0.9", '0.9": expected and, or, or the end, found 0.9 (column 30)'),
        ("${retrieval.avg_score} = 0.8", "cannot read '= 0.8' (column 24)"),
        ("${a.b} < 0.8 < 0.9", "comparisons do not chain; join two of them with and (column 14)"),
        ("complexity == 1", "found complexity (column 1)"),
        ("${a.b.c} > 1", '"${a.b.c}" is not a reference'),
        ("${A} > 1", "${A} is of the environment; use a parameter instead (column 1)"),
        ("${a:-1} > 1", "${a:-1}: a default is not allowed in a condition (column 1)"),
        ("${a", "cannot read '${a' (column 1)"),
        ("(${a} > 1", 'expected ")", found the end (column 10)'),
        ("${a} in [1 2]", 'expected "," or "]", found 2 (column 12)'),
        ("${a} not 1", 'expected "in" after "not", found 1 (column 10)'),
        ("__import__('os')", "found __import__ (column 1)"),
        ("${a}.__class__ == 1", "cannot read '.__class__ == 1' (column 5)"),
        ("len(${a}) > 1", "found len (column 1)"),
        ("${a} > 1 if true else false", "expected and, or, or the end, found if (column 10)"),
        ("${a} + 1 > 2", "cannot read '+ 1 > 2' (column 6)"),
        ("{{ a }}", "cannot read '{{ a }}' (column 1)"),
        ("'open", 'cannot read "\'open" (column 1)'),
        ("(" * 60 + "true" + ")" * 60, "nested deeper than 40 (column 41)"),
        ("true" + " " * 3000 + "or true", "the condition has 3011 characters; at most 2000 are allowed"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_tells_where(text: str, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        Condition.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "${retrieval.avgscore} < 1",
            'step "retrieval" has no "avgscore"; it has avg_score, chunks, count, none, top_s',
        ),
        ("${rerank.count} < 1", '${rerank.count}: step "rerank" has no result; it did not run'),
        ("${other}", "${other}: the parameter was not given and has no default"),
        ("${retrieval.count}", "the condition needs true or false, found a number; compare it with something"),
        ("not ${language}", "not needs true or false, found text"),
        ("${rerank} and ${top_k}", "and needs true or false, found a number"),
        ("${top_k} or ${rerank}", "or needs true or false, found a number"),
        ("${absent} < 1", "cannot compare null < a number"),
        ("${language} < 1", "cannot compare text < a number"),
        ("${top_k} == '5'", "cannot compare a number == text"),
        ("${rerank} == 1", "cannot compare true or false == a number"),
        ("${rerank} < true", "cannot compare true or false < true or false"),
        ("1 in ${top_k}", "cannot compare a number in a number"),
        ("1 not in 'a'", "cannot compare a number not in text"),
    ],
)
def test_a_condition_without_a_value_is_an_error_and_never_true(text: str, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        Condition.parse(text).evaluate(RESULTS, PARAMETERS)
    assert str(caught.value).startswith(f'"{text}": ')
    assert message in str(caught.value)


def test_the_second_part_is_not_looked_at_when_the_first_decides() -> None:
    assert Condition.parse("false and ${other}").evaluate({}, {}) is False
    assert Condition.parse("true or ${other}").evaluate({}, {}) is True


def test_a_condition_knows_what_it_refers_to() -> None:
    condition = Condition.parse("${b.x} > 1 and (${k} == 1 or ${a.y} == ${k}) and ${b.x} < 9")
    assert condition.references == (("b", "x"), ("a", "y"))
    assert condition.parameters == ("k",)
    assert condition == Condition.parse(condition.text)


class Trap:
    """Answers to nothing; a condition that touched it would raise something that is no ConditionError."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return Trap
        raise AssertionError(f"the condition looked at {name}")


def test_a_value_of_an_unknown_type_is_not_looked_into() -> None:
    with pytest.raises(ConditionError, match="cannot compare a stream < a number"):
        Condition.parse("${a.b} < 1").evaluate({"a": {"b": Trap()}}, {})


WORDS = ["${a.b}", "${p}", "${X}", "${", "==", "<=", "in", "not", "and", "or", "true", "null", "__class__", "lambda"]
NUMBERS_AND_TEXTS = ["1", "-1", "0.5", "1e9", "'t'", '"t"', "a.b"]
FRAGMENTS = st.sampled_from([*"<>()[],!'\\}é\x00", *WORDS, *NUMBERS_AND_TEXTS])


@settings(deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(FRAGMENTS, max_size=25).map(" ".join)))
def test_no_text_raises_anything_but_a_condition_error(text: str) -> None:
    values: list[Any] = [None, True, 3, 0.5, "t", ["t"], {"k": 1}]
    try:
        condition = Condition.parse(text)
    except ConditionError:
        return
    for value in values:
        try:
            answer = condition.evaluate({"a": {"b": value}}, {"p": value})
        except ConditionError:
            continue
        assert answer is True or answer is False
