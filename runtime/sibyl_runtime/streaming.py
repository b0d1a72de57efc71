"""An answer told as it is made, and one that was made before told in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.pipeline.listening import AnswerText, Event, Listener, SourcesFound
from sibyl_runtime.techniques.pieces import Pieces
from sibyl_runtime.workspace import GenerationConfig, Workspace, step_config, technique


class Narration:
    """A listener that passes on what it hears, and knows what is missing in the end."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._sources_told = False
        self._text_told = False

    async def __call__(self, event: Event) -> None:
        """Pass `event` on."""
        self._sources_told |= isinstance(event, SourcesFound)
        self._text_told |= isinstance(event, AnswerText)
        await self._listener(event)

    async def complete(self, outcome: ToolOutcome, size: int | None) -> None:
        """Tell what was not told while the answer was made: all of one that is kept, the text of one made whole.

        `size` is how many tokens a piece has; None tells the answer in one piece.
        """
        answer = outcome.output["answer"]
        if not self._sources_told:
            sources = [{k: v for k, v in source.items() if k != "cited"} for source in outcome.output["sources"]]
            await self(SourcesFound(sources))
        if self._text_told or not answer:
            return
        if size is None:
            await self(AnswerText(answer))
            return
        pieces = Pieces(size)
        for text in [*pieces.add(answer), pieces.rest()]:
            if text:
                await self(AnswerText(text))


def piece_size(workspace: Workspace, pipeline: str, parameters: Mapping[str, Any]) -> int | None:
    """Tokens per piece of what the pipeline answers; None where its answers come whole."""
    for step in reversed(workspace.effective_pipelines[pipeline].all_steps):
        if technique(step.use).config is GenerationConfig:
            config = step_config(workspace, pipeline, step, parameters)
            assert isinstance(config, GenerationConfig)
            return config.chunk_size if config.subtechnique == "streaming" else None
    return None
