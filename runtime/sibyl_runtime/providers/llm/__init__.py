"""Language models: `open_language_model` turns a provider of the workspace into a `LanguageModel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.llm.extractive import ExtractiveModel
from sibyl_runtime.providers.protocols import LanguageModel

if TYPE_CHECKING:
    from sibyl_runtime.workspace import LlmProvider

__all__ = ["open_language_model"]


def open_language_model(name: str, provider: LlmProvider) -> LanguageModel:
    """The model of `providers.llm.<name>`. Nothing is sent yet; `check` proves that it can be used.

    Raises StartupError for a setting that is missing or a kind that is not available.
    """
    if provider.kind == "extractive":
        return ExtractiveModel(name, provider)
    if provider.kind == "openai":
        # Imported here: the client library and the price table take half a second that the key-less default saves.
        from sibyl_runtime.providers.llm.openai_compatible import OpenAIChatModel

        return OpenAIChatModel(name, provider)
    raise StartupError(
        f"providers.llm.{name}.kind: {provider.kind} is not available in this version; available: extractive, openai"
    )
