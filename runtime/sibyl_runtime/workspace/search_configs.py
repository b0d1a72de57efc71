"""The settings of what stands around a search: which queries are searched for, and what is made of the chunks."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sibyl_runtime.workspace.base import choice, fail_field
from sibyl_runtime.workspace.prompts import check_prompt
from sibyl_runtime.workspace.step_configs import StepConfig, one_spelling
from sibyl_runtime.workspace.text import Name, Text

_QUERY_PROCESSINGS = {
    "query_rewriting": "rewriting", "query_expansion": "expansion", "query_decomposition": "decomposition",
}  # fmt: skip
_QUERY_PROCESSING_KINDS = Literal["rewriting", "expansion", "multi_query", "decomposition", "hyde", "routing"]
SEVERAL_QUERIES = frozenset({"multi_query", "decomposition"})
"""Variants that ask the model for more than one query."""


class QueryProcessingConfig(StepConfig):
    """Settings of `rag.query_processing`. What is None here is taken from the provider."""

    subtechnique: Annotated[_QUERY_PROCESSING_KINDS, one_spelling(_QUERY_PROCESSINGS)] = choice(
        "rewriting",
        "What the language model makes of the question: better words for it (rewriting), more words (expansion), "
        "several wordings (multi_query), its parts (decomposition), a passage that could answer it (hyde).",
        planned_values=("routing",),
    )
    provider: Name | None = Field(None, description="Which of providers.llm; none: the default.")
    include_original: bool = Field(True, description="Search for the question too, and first; false: not for it.")
    max_queries: int = Field(
        4, ge=1, le=10, description="With multi_query and decomposition: most searches, the question's included."
    )
    prompt: Text | None = Field(
        None, description="Prompt, with {query}, and {count} for how many queries are wanted; none: one per variant."
    )
    max_tokens: int = Field(256, ge=1, le=1_000_000, description="Longest reply, in tokens.")
    temperature: float | None = Field(None, ge=0, le=2, description="Randomness of sampling.")
    timeout: float = Field(
        5.0, gt=0, le=600,
        description="Longest wait for the model, in seconds, and at most half of what the deadline leaves; then the "
        "question is searched for as it is.",
    )  # fmt: skip

    @property
    def wanted(self) -> int:
        """How many queries the model is asked for."""
        return self.max_queries - self.include_original if self.subtechnique in SEVERAL_QUERIES else 1

    @model_validator(mode="after")
    def _prompt_can_be_filled(self) -> Self:
        if self.prompt is not None:
            check_prompt(self.prompt, ("query", "count"))
        return self

    @model_validator(mode="after")
    def _max_queries_has_effect(self) -> Self:
        if "max_queries" in self.model_fields_set and self.subtechnique not in SEVERAL_QUERIES:
            fail_field(
                "max_queries",
                f"has no effect with subtechnique {self.subtechnique}; remove it, or set multi_query or decomposition",
            )
        if self.wanted < 1:
            fail_field(
                "max_queries",
                f"must be at least 2, found {self.max_queries}: the question is one of them; or set "
                "include_original: false",
            )
        return self


_AUGMENTATIONS = {"citation_injection": "context_stuffing", "citation": "context_stuffing"}
_AUGMENTATION_KINDS = Literal[
    "context_stuffing", "map_reduce", "refine", "metadata_injection", "cross_reference", "temporal_context",
    "entity_linking",
]  # fmt: skip


class AugmentationConfig(StepConfig):
    """Settings of `rag.augmentation`."""

    subtechnique: Annotated[_AUGMENTATION_KINDS, one_spelling(_AUGMENTATIONS)] = choice(
        "context_stuffing",
        "How the context is made: all chunks in one text, each under its number and title.",
        planned_values=(
            "map_reduce", "refine", "metadata_injection", "cross_reference", "temporal_context", "entity_linking",
        ),
    )  # fmt: skip
    order: Annotated[Literal["lost_in_the_middle", "relevance"], one_spelling({})] = Field(
        "lost_in_the_middle",
        description="Where chunks stand in the context: the best at both ends, or best first. Their numbers stay.",
    )
    max_context_tokens: int | None = Field(
        None, ge=1, le=1_000_000,
        description="Most tokens of the context, as the embedding model counts them; the best chunk always is in it.",
    )  # fmt: skip
    deduplicate: bool = Field(True, description="Leave out a chunk whose words nearly all stand in a better one.")
