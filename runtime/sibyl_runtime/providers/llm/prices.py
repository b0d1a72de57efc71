"""What a model's tokens cost, from the price table inside `genai-prices`. Nothing is fetched.

Only what is known is priced. A model at an address that is nobody's public service may be anybody's: its price is
unknown, not zero. The exception is a gateway that passes OpenAI's own model names on.
"""

from __future__ import annotations

from decimal import Decimal

from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider

# Names that OpenAI also sells, but whose weights anybody may run: behind an unknown address they say nothing.
OPEN_WEIGHTS = "gpt-oss"


class ModelPrice:
    """The price of one model at one address, looked up once."""

    def __init__(self, model: str, base_url: str) -> None:
        self._found = _find(model, base_url)

    def cost(self, *, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> Decimal | None:
        """US dollars. `prompt_tokens` is the total, cached ones included. None: the price is not known."""
        if self._found is None:
            return None
        provider, model = self._found
        usage = Usage(input_tokens=prompt_tokens, cache_read_tokens=cached_tokens, output_tokens=completion_tokens)
        return model.calc_price(usage, provider).total_price


def _find(model: str, base_url: str) -> tuple[Provider, ModelInfo] | None:
    table = get_snapshot()
    try:
        provider = table.find_provider(None, None, base_url)
    except LookupError:
        if model.lower().startswith(OPEN_WEIGHTS):
            return None
        provider = table.find_provider(None, "openai", None)
    try:
        return table.find_provider_model(model, provider, None, None)
    except LookupError:
        return None
