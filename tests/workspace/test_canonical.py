"""The hash by which operator and runtime compare documents, and the copy of a document that may be shown."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sibyl_runtime.workspace import REDACTED, effective_hash, redact
from tests.workspace.documents import FULL, Path, changed, full, leaves, problems_of, valid

LEAVES = list(leaves(FULL))


def other(value: Any) -> Any:
    """A value of the same type that is not `value`."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x"


def test_the_hash_has_its_form() -> None:
    assert re.fullmatch(r"v1-[0-9a-f]{12}", effective_hash(FULL))
    assert effective_hash({}) == "v1-44136fa355b3"


def test_the_order_of_keys_does_not_count() -> None:
    def reversed_keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reversed_keys(value[key]) for key in reversed(value)}
        return [reversed_keys(inner) for inner in value] if isinstance(value, list) else value

    assert effective_hash(reversed_keys(FULL)) == effective_hash(FULL)


def test_a_number_counts_and_not_how_json_writes_it() -> None:
    assert effective_hash({"a": 1.0}) == effective_hash({"a": 1})
    assert effective_hash({"a": 1.5}) != effective_hash({"a": 1})
    assert effective_hash({"a": True}) != effective_hash({"a": 1})
    assert effective_hash({"a": "1"}) != effective_hash({"a": 1})
    assert effective_hash(json.loads(json.dumps(FULL))) == effective_hash(FULL)


def test_a_list_counts_with_its_order() -> None:
    assert effective_hash({"a": [1, 2]}) != effective_hash({"a": [2, 1]})


@settings(deadline=None)
@given(st.sampled_from(LEAVES))
def test_changing_any_leaf_changes_the_hash(leaf: tuple[Path, Any]) -> None:
    path, value = leaf
    assert effective_hash(changed(FULL, path, other(value))) != effective_hash(FULL)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: ".".join(map(str, leaf[0])))
def test_changing_any_leaf_changes_what_is_read_or_is_refused(leaf: tuple[Path, Any]) -> None:
    path, value = leaf
    document = changed(FULL, path, other(value))
    assert problems_of(document) or valid(document) != valid(FULL)


SECRETS: dict[str, Any] = {
    "providers": {
        "llm": {
            "a": {"kind": "openai", "api_key": "SECRET-1", "base_url": "https://user:SECRET-2@llm.example/v1"},
            "b": {"kind": "openai", "api_key": "${OPENAI_API_KEY:-SECRET-3}"},
            "c": {"kind": "openai", "api_key": 4711},
            "d": {"base_url": "https://llm.example/v1?api_key=SECRET-4&x=1"},
            "e": {"base_url": "https://llm.example/v1?subscription=SECRET-21&x=${Y}&z=SECRET-22#SECRET-23"},
            "f": {"base_url": "https://SECRET-24@llm.example/v1"},
            "g": {"base_url": "${MODELS:-https://SECRET-25@llm.example/v1?SECRET-26}"},
        },
        "vector_store": {
            "a": {"dsn": "postgresql://sibyl:SECRET-5@db:5432/sibyl?sslmode=require"},
            "b": {"dsn": "host=db password=SECRET-6 user=sibyl"},
            "c": {"dsn": "host=db password='SECRET 7' user=sibyl"},
            "d": {"url": "postgresql://sibyl:SECRET/8@x@db/sibyl"},
            "e": {"dsn": "postgresql://sibyl:${DB_PASSWORD:-SECRET-9}@db/sibyl"},
            "f": {"dsn": "${DATABASE_URL:-postgresql://sibyl:SECRET-10@db/sibyl}"},
            "replicas": [{"dsn": "postgresql://sibyl:SECRET-11@replica/sibyl"}],
        },
        "sql": {"a": {"config": {"password": "SECRET-12"}}},
    },
    "shops": {"infrastructure": {"config": {"caching": {"redis": {"url": "redis://:SECRET-13@cache:6379"}}}}},
    "mcp": {
        "authentication": {
            "keys": ["SECRET-14", "${API_KEY_1}", "Bearer ${API_KEY_2} SECRET-15"],
            "secret": "SECRET-16",
            "key_metadata": {"SECRET-17": {"name": "team"}},
        },
        "rate_limiting": {"redis_url": "redis://u:SECRET-18@h"},
        "tools": [
            {
                "parameters": {
                    "token": {"type": "string", "description": "Which token.", "default": "SECRET-19"},
                    "query": {"type": "string"},
                }
            }
        ],
    },
    "description": "see https://me:SECRET-20@wiki/",
}


def test_no_secret_survives_redaction() -> None:
    shown = json.dumps(redact(SECRETS))
    assert re.findall(r"SECRET.{0,3}|4711", shown) == []
    assert "SECRET-20" in json.dumps(SECRETS)


def test_of_an_address_of_the_web_only_what_may_be_a_key_is_cut() -> None:
    models = {
        "a": {"base_url": "https://me@llm.example:8443/v1?x=1"},
        "b": {"base_url": "http://llm.example/v1"},
        "c": {"base_url": "${MODELS}"},
    }
    assert {name: model["base_url"] for name, model in redact(models).items()} == {
        "a": "https://[redacted]@llm.example:8443/v1?[redacted]",
        "b": "http://llm.example/v1",
        "c": "${MODELS}",
    }


def test_what_is_no_secret_stays_readable() -> None:
    shown = redact(SECRETS)
    stores = shown["providers"]["vector_store"]
    assert stores["a"]["dsn"] == f"postgresql://sibyl:{REDACTED}@db:5432/sibyl?sslmode=require"
    assert stores["b"]["dsn"] == f"host=db password={REDACTED} user=sibyl"
    assert stores["e"]["dsn"] == f"postgresql://sibyl:${{DB_PASSWORD:-{REDACTED}}}@db/sibyl"
    assert stores["f"]["dsn"] == f"${{DATABASE_URL:-postgresql://sibyl:{REDACTED}@db/sibyl}}"
    assert shown["providers"]["llm"]["b"]["api_key"] == f"${{OPENAI_API_KEY:-{REDACTED}}}"
    assert shown["mcp"]["authentication"]["keys"] == [REDACTED, "${API_KEY_1}", REDACTED]
    assert shown["mcp"]["tools"][0]["parameters"]["token"]["description"] == "Which token."
    assert shown["mcp"]["tools"][0]["parameters"]["query"] == {"type": "string"}


def test_a_document_without_secrets_is_shown_as_it_is() -> None:
    document = full()
    document["mcp"]["authentication"]["keys"] = ["${API_KEY}"]
    # Its names may be keys: it is hidden as a whole.
    del document["mcp"]["authentication"]["key_metadata"]
    document["providers"]["llm"]["primary"]["api_key"] = "${OPENAI_API_KEY}"
    assert redact(document) == document


WORDS = st.text(alphabet="abcXYZ089-_.~", min_size=8, max_size=20).map(lambda word: f"S{word}S")


@settings(deadline=None)
@given(WORDS, st.sampled_from(["api_key", "password", "secret", "keys", "token", "client_secret", "apiKey", "API_KEY"]))
def test_a_value_under_a_secret_name_never_survives(word: str, name: str) -> None:
    shown = json.dumps(redact({"a": [{name: word}, {name: [word]}, {name: {word: word}}]}))
    assert word not in shown


@settings(deadline=None)
@given(WORDS, WORDS)
def test_a_password_in_an_address_never_survives(user: str, password: str) -> None:
    for key in ("dsn", "url", "note"):
        shown = json.dumps(redact({key: f"postgresql://{user}:{password}@db/x"}))
        assert password not in shown.replace(user, "")
