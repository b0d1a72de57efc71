from __future__ import annotations

import subprocess
import sys

import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.llm import open_language_model
from sibyl_runtime.workspace import LlmProvider


@pytest.mark.parametrize(
    "provider",
    [LlmProvider(kind="extractive"), LlmProvider(kind="openai", model="gpt-4", api_key="sk-test")],
    ids=lambda provider: provider.kind,
)
async def test_a_provider_becomes_a_model_of_its_name(provider: LlmProvider) -> None:
    model = open_language_model("primary", provider)
    assert model.name == "primary"
    await model.close()


def test_a_kind_that_is_not_built_is_refused_by_name() -> None:
    with pytest.raises(StartupError) as caught:
        open_language_model("primary", LlmProvider(kind="anthropic", model="claude"))
    assert caught.value.message == (
        "providers.llm.primary.kind: anthropic is not available in this version; available: extractive, openai"
    )


def test_the_default_without_a_key_loads_no_client_library() -> None:
    program = (
        "import sys; from sibyl_runtime.providers.llm import open_language_model;"
        "from sibyl_runtime.workspace import LlmProvider;"
        "open_language_model('default', LlmProvider(kind='extractive'));"
        "assert not {'openai', 'httpx2', 'genai_prices'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
