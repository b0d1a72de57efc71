"""What a request under /documents may hold; whatever does not fit is named with its place."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.server import document_schema
from sibyl_runtime.server.catalogue import input_schema
from sibyl_runtime.server.document_schema import PRUNE, STORE, given_documents, given_prune

GOOD = {"id": "a", "text": "A."}


def store(*documents: object, **others: object) -> dict[str, Any]:
    return {"source": "s", "documents": list(documents), **others}


STORES: list[tuple[dict[str, Any], str]] = [
    ({}, "source: is required; give text; documents: is required; give a list"),
    (store(GOOD, source=""), "source: must be at least 1 characters, found 0 characters"),
    (store(GOOD, source=5), "source: must be text, found 5"),
    (store(GOOD, source="s" * 1001), "source: must be at most 1000 characters, found 1001 characters"),
    (store(GOOD, source="a\0b"), "source: must not hold the character NUL, found it at position 1; remove it"),
    (store(GOOD, sauce="x"), "sauce: unknown parameter. Did you mean source?"),
    (store(GOOD, pipeline=None), "pipeline: must be text, found nothing (null)"),
    ({"source": "s", "documents": GOOD}, "documents: must be a list, found a mapping"),
    (store(), "documents: must be at least 1 elements, found 0 elements"),
    (store(*[GOOD] * 1001), "documents: must be at most 1000 elements, found 1001 elements"),
    (store("a"), 'documents[0]: must be a mapping, found "a"'),
    (store(GOOD, {"text": "A."}), "documents[1].id: is required; give text"),
    (store({"id": 5, "text": "A."}), "documents[0].id: must be text, found 5"),
    (store({"id": "", "text": "A."}), "documents[0].id: must be at least 1 characters, found 0 characters"),
    (store({"id": "a"}), "documents[0].text: is required; give text"),
    (store({"id": "a", "text": None}), "documents[0].text: must be text, found nothing (null)"),
    (store({**GOOD, "titel": "T"}), "documents[0].titel: unknown key. Did you mean title?"),
    (store({**GOOD, "title": 1}), "documents[0].title: must be text, found 1"),
    (store({**GOOD, "metadata": []}), "documents[0].metadata: must be a mapping, found a list"),
    (store({**GOOD, "format": "html"}), 'documents[0].format: found "html"; allowed: "markdown", "text"'),
]


@pytest.mark.parametrize(("body", "message"), STORES, ids=[message[:50] for _, message in STORES])
def test_documents_that_do_not_fit_are_named(body: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        given_documents(body)
    assert refused.value.message == message


PRUNES: list[tuple[dict[str, Any], str]] = [
    ({"source": "s"}, "keep: is required; give a list"),
    ({"source": "s", "keep": [1]}, "keep[0]: must be text, found 1"),
    ({"source": "s", "keep": ["a", "b\0"]}, "keep[1]: must not hold the character NUL; no stored name does"),
    ({"source": "s", "keep": [], "after": ""}, "after: must be at least 1 characters, found 0 characters"),
    ({"source": "s", "keep": [], "through": 1}, "through: must be text, found 1"),
]


@pytest.mark.parametrize(("body", "message"), PRUNES, ids=[message[:50] for _, message in PRUNES])
def test_a_prune_that_does_not_fit_is_named(body: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        given_prune(body)
    assert refused.value.message == message


def test_of_a_thousand_problems_the_first_are_shown() -> None:
    with pytest.raises(InvalidParameters) as refused:
        given_documents(store(*[{"id": "a"}] * 1000))
    assert refused.value.message.endswith(
        "documents[19].text: is required; give text; documents[20].text: is required; give text; more is wrong, and "
        "not listed"
    )
    assert len(refused.value.details["problems"]) == 21


def test_the_example_of_each_route_fits_its_own_schema() -> None:
    paths = document_schema.operations({"/documents": STORE, "/documents/prune": PRUNE})
    for tool, path in ((STORE, "/documents"), (PRUNE, "/documents/prune")):
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        jsonschema.validate(content["example"], input_schema(tool))
        assert content["schema"] == input_schema(tool)
    assert given_documents(paths["/documents"]["post"]["requestBody"]["content"]["application/json"]["example"])
