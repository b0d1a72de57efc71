"""`infrastructure.cache_warming`: questions that are asked ahead of users, so that their answers are kept already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import Field, StringConstraints, model_validator

from sibyl_runtime.workspace.base import fail_field
from sibyl_runtime.workspace.step_configs import StepConfig
from sibyl_runtime.workspace.text import Name, Text

CACHE_WARMING: Final = "infrastructure.cache_warming"
QUERY: Final = "query"
"""The parameter of a tool that takes the question."""


class CacheWarmingConfig(StepConfig):
    """Settings of `infrastructure.cache_warming`."""

    queries: list[Annotated[Text, StringConstraints(max_length=8192)]] = Field(
        min_length=1, max_length=1000, description="Questions to ask ahead of users."
    )
    tool: Name | None = Field(None, description="Which tool is asked; none: the one that a question alone can ask.")
    arguments: dict[str, Any] = Field({}, description="What the tool is given beside the question.")
    max_concurrent: int = Field(1, ge=1, le=32, description="Questions asked at once.")

    @model_validator(mode="after")
    def _each_query_once(self) -> Self:
        first: dict[str, int] = {}
        for index, query in enumerate(self.queries):
            if first.setdefault(query, index) != index:
                fail_field("queries", f"holds one question twice, at {first[query]} and {index}; keep one of them")
        return self

    @model_validator(mode="after")
    def _the_question_is_no_argument(self) -> Self:
        if QUERY in self.arguments:
            fail_field("arguments", f'holds "{QUERY}", which each of queries is given as; remove it')
        return self

    def asking(self, query: str) -> Mapping[str, Any]:
        """The arguments of the call that asks this."""
        return {**self.arguments, QUERY: query}
