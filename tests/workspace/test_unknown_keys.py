"""An unknown key is never ignored, wherever it is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sibyl_runtime.workspace import effective_hash, format_path, redact
from tests.workspace.documents import FULL, Path, at, changed, leaves, mappings, problem_list

# Mappings whose keys are names that the user chooses, or values of the user's own.
FREE = (
    ("providers", "llm"),
    ("providers", "embedding"),
    ("providers", "vector_store"),
    ("shops",),
    ("pipelines",),
    ("mcp", "authentication", "key_metadata"),
)
USER_NAMES = {"parameters", "filters", "defaults", "properties", "key_metadata"}


def names_are_fixed(path: Path) -> bool:
    return path not in FREE and (not path or path[-1] not in USER_NAMES)


PLACES = [path for path in mappings(FULL) if names_are_fixed(path)]
KEYS = st.from_regex(r"[a-z][a-z_]{2,12}", fullmatch=True)


@settings(deadline=None)
@given(st.sampled_from(PLACES), KEYS, st.sampled_from([1, "x", True, None, {}, [], {"enabled": True}]))
def test_a_key_that_nothing_knows_is_named_with_its_path(path: Path, key: str, value: Any) -> None:
    unknown = f"zz_{key}"
    problems = problem_list(changed(FULL, (*path, unknown), value))
    assert [problem.path for problem in problems] == [format_path((*path, unknown))]


@settings(deadline=None)
@given(st.sampled_from([path for path in mappings(FULL) if path in FREE]), st.sampled_from([1, "x", []]))
def test_something_that_is_no_mapping_under_a_free_name_is_named(path: Path, value: Any) -> None:
    problems = problem_list(changed(FULL, (*path, "zz"), value))
    assert format_path((*path, "zz")) in [problem.path for problem in problems]


@settings(deadline=None)
@given(st.data())
def test_a_misspelt_key_is_answered_with_the_right_one(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([place for place in PLACES if at(FULL, place) and place[:1] != ("shops",)]))
    key = data.draw(st.sampled_from(sorted(name for name in at(FULL, path) if len(name) > 5) or ["description"]))
    position = data.draw(st.integers(1, len(key) - 2))
    misspelt = f"{key[:position]}{key[position + 1 :]}"
    problems = problem_list(changed(FULL, (*path, misspelt), 1))
    named = [problem.message for problem in problems if problem.path == format_path((*path, misspelt))]
    if misspelt not in at(FULL, path):
        assert len(named) == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            ("providers", "vector_store", "main", "hnsw_ef_serch"),
            "unknown key. Did you mean hnsw_ef_search?",
        ),
        (("mcp", "prot"), "unknown key. Did you mean port?"),
        (("pipelines", "search", "steps", 0, "config", "topk"), "unknown key. Did you mean top_k?"),
        (("pipelines", "search", "steps", 0, "conditon"), "unknown key. Did you mean condition?"),
        (
            ("observability", "metrics", "qqq"),
            "unknown key; allowed: enabled, port",
        ),
        (("mcp", "tools", 0, "parameters", "query", "maxlength"), "unknown key. Did you mean maxLength?"),
        (("providers", "vector-store"), "unknown key. Did you mean vector_store?"),
    ],
)
def test_the_nearest_known_key_is_named(path: Path, message: str) -> None:
    assert [(problem.path, problem.message) for problem in problem_list(changed(FULL, path, 1))] == [
        (format_path(path), message)
    ]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**12)
    | st.floats()
    | st.sampled_from(
        ["", "x", "${X}", "${X:-3}", "${x}", "${a.b}", "${", "{% x %}", "rag.retrieval", "a b", "openai"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["use", "name", "kind", "type", "steps", "config", "x", "a b", ""]), inner)
    ),
    max_leaves=8,
)
PARTS = [path for path, _ in leaves(FULL)] + [path for path in mappings(FULL) if path]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(PARTS), JSON, st.sampled_from([None, {}, {"X": "5"}, {"X": "${x"}]))
def test_whatever_is_written_anywhere_is_read_or_refused_with_problems(
    path: Path, value: Any, environ: dict[str, str] | None
) -> None:
    document = changed(FULL, path, value)
    for problem in problem_list(document, environ=environ):
        assert problem.message
    assert effective_hash(document).startswith("v1-")
    assert redact(document).keys() == document.keys()
