"""What decides which language model answers, judged before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workspace.documents import problems_of

SIMPLE = {"kind": "openai", "model": "gpt-3.5-turbo", "api_key": "k"}
COMPLEX = {"kind": "openai", "model": "gpt-4", "api_key": "k"}
GUIDE = "{% if complexity < 0.7 %}simple{% else %}complex{% endif %}\n"
CLASSIFIER = {"use": "infrastructure.query_classifier", "config": {"complexity_threshold": 0.7}}
GENERATION = "pipelines.p.steps[{}].config.{}"


def document(generation: dict[str, Any], *before: dict[str, Any], **more: Any) -> dict[str, Any]:
    steps = [*before, {"use": "rag.retrieval"}, {"use": "ai_generation.generation", "config": generation}]
    providers = {"llm": {"default": SIMPLE, "simple": SIMPLE, "complex": COMPLEX}}
    return {"providers": providers, "pipelines": {"p": {"steps": steps}}, **more}


@pytest.mark.parametrize(
    "raw",
    [
        document({"provider": GUIDE}, CLASSIFIER),
        document({"provider": GUIDE, "fallback_providers": ["complex", "default"]}, CLASSIFIER),
        document({"provider": "{% if 'price' in query %}simple{% else %}complex{% endif %}"}),
        document({"provider": "{% if complexity < 0.7 %}${SMALL}{% else %}complex{% endif %}"}, CLASSIFIER),
        document(
            {"provider": "{{ 'complex' if is_complex else 'simple' }}"}, {"use": "infrastructure.query-classifier"}
        ),
        document({"fallback_providers": ["complex"]}),
    ],
)
def test_a_route_that_can_work_has_no_problem(raw: dict[str, Any]) -> None:
    assert problems_of(raw) == []


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (
            document({"provider": GUIDE}),
            GENERATION.format(1, "provider") + ": holds a template that uses complexity; put a step "
            'infrastructure.query_classifier before this one in pipeline "p"',
        ),
        (
            document({"provider": GUIDE.replace("complex{", "complexx{")}, CLASSIFIER),
            GENERATION.format(2, "provider") + ': holds a template that chooses "complexx" when complexity is 0.7; it '
            "must choose one of providers.llm. Did you mean complex?",
        ),
        (
            document({"provider": "{% if complexity < 0.7 %}simple{% endif %}"}, CLASSIFIER),
            GENERATION.format(2, "provider") + ": holds a template that chooses nothing when complexity is 0.7; it "
            "must choose one of providers.llm; known: complex, default, simple",
        ),
        (
            document({"provider": "{{ query }}"}),
            GENERATION.format(1, "provider") + ': holds a template that chooses nothing when query is ""; it '
            "must choose one of providers.llm; known: complex, default, simple",
        ),
        (
            document({"provider": "{% if query < 3 %}simple{% endif %}"}),
            GENERATION.format(1, "provider") + ': holds a template that cannot be evaluated when query is "": '
            "'<' not supported between instances of 'str' and 'int'",
        ),
        (
            document({"provider": "{{ ''.__class__ }}"}),
            GENERATION.format(1, "provider") + ": holds a template that reaches into a value (.__class__); a template "
            "may compare values, not reach into them; variables: complexity, is_complex, query",
        ),
        (
            document({"provider": "{% if complexity < ${limit} %}simple{% endif %}"}, CLASSIFIER)
            | {"mcp": {"tools": [{"name": "t", "description": "d", "pipeline": "p", "parameters": {
                "query": {"type": "string", "required": True}, "limit": {"type": "number", "required": True}}}]}},
            GENERATION.format(2, "provider") + ": holds a parameter inside a template; a caller's text must not be "
            "part of one",
        ),
        (
            document({"fallback_providers": ["complexx"]}),
            GENERATION.format(1, "fallback_providers[0]") + ': no provider in providers.llm is called "complexx". Did '
            "you mean complex?",
        ),
        (
            document({"provider": "simple", "fallback_providers": ["simple"]}),
            GENERATION.format(1, "fallback_providers") + ': holds "simple", which is the provider itself; remove it',
        ),
        (
            document({"fallback_providers": ["simple", "simple"]}),
            GENERATION.format(1, "fallback_providers") + ': holds "simple" twice; keep one of them',
        ),
        (
            document({}, shops={"ai_generation": {"techniques": {"generation": {"provider": "{{ 'no' }}"}}}}),
            'shops.ai_generation.techniques.generation.provider: holds a template that chooses "no"; it must choose '
            "one of providers.llm; known: complex, default, simple",
        ),
        (
            {"providers": {"llm": {"a": {**SIMPLE, "rate_limit": {}}}}},
            "providers.llm.a.rate_limit.requests_per_minute: or tokens_per_minute must be set, else nothing is limited",
        ),
        (
            {"providers": {"llm": {"a": {**SIMPLE, "max_retries": 0, "retry_delay": 1}}}},
            "providers.llm.a.retry_delay: has no effect with max_retries 0; remove it",
        ),
        (
            {"providers": {"llm": {"a": {"kind": "extractive", "rate_limit": {"requests_per_minute": 5}}}}},
            "providers.llm.a.rate_limit: has no effect with kind extractive; remove it",
        ),
    ],
)  # fmt: skip
def test_a_route_that_cannot_work_is_refused(raw: dict[str, Any], problem: str) -> None:
    assert problems_of(raw) == [problem]


def test_a_threshold_from_a_parameter_leaves_the_template_to_the_run() -> None:
    raw = document(
        {"provider": "{{ 'big' if is_complex else 'simple' }}"},
        {"use": "infrastructure.query_classifier", "config": {"complexity_threshold": "${limit}"}},
    )
    raw["pipelines"]["p"]["parameters"] = {"limit": {"type": "number", "default": 0.5}}
    assert problems_of(raw) == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("{{ s3cret }}", "holds a template that cannot be read"),
        ("{{ 's3cret' }}", "holds a template that does not always choose one of providers.llm"),
        ("{{ 'simple' if query == 's3cret' }}", "holds a template that does not always choose one of providers.llm"),
        ("{{ 'simple' }}", None),
    ],
)
def test_a_template_from_the_environment_is_judged_and_not_shown(value: str, problem: str | None) -> None:
    expected = [] if problem is None else [f"{GENERATION.format(1, 'provider')}: the value of ${{CHOICE}} {problem}"]
    assert problems_of(document({"provider": "${CHOICE}"}), environ={"CHOICE": value}) == expected
