from __future__ import annotations

from decimal import Decimal

import pytest

from sibyl_runtime.providers.llm.prices import ModelPrice

OPENAI = "https://api.openai.com/v1"
GATEWAY = "http://gateway.internal:4000/v1"


def test_tokens_are_priced_from_the_table() -> None:
    """gpt-4: 30 dollars a million in, 60 out, unchanged since it came out."""
    price = ModelPrice("gpt-4", OPENAI)
    assert price.cost(prompt_tokens=1000, cached_tokens=0, completion_tokens=100) == Decimal("0.036")


def test_cached_tokens_are_cheaper_and_not_counted_twice() -> None:
    price = ModelPrice("gpt-4o", OPENAI)
    full = price.cost(prompt_tokens=1000, cached_tokens=0, completion_tokens=0)
    half = price.cost(prompt_tokens=1000, cached_tokens=1000, completion_tokens=0)
    assert full is not None
    assert half is not None
    assert 0 < half < full


@pytest.mark.parametrize(
    ("model", "base_url", "known"),
    [
        ("gpt-4o", OPENAI, True),
        ("mistral-large-latest", "https://api.mistral.ai/v1", True),
        ("gpt-4o", GATEWAY, True),
        ("gpt-oss-20b", OPENAI, True),
        ("gpt-oss-20b", GATEWAY, False),
        ("meta-llama/Llama-3-8B", GATEWAY, False),
        ("mistral-large-latest", GATEWAY, False),
        ("gpt-4o", "https://api.mistral.ai/v1", False),
        ("my-own-model", OPENAI, False),
    ],
)
def test_a_price_is_known_only_where_the_seller_is(model: str, base_url: str, known: bool) -> None:
    cost = ModelPrice(model, base_url).cost(prompt_tokens=1000, cached_tokens=0, completion_tokens=100)
    assert (cost is not None) == known
