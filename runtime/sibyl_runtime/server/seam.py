"""What the server needs of a runtime: the seam at which tests put faults that real parts do not produce on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.pipeline.context import Deadline, Services
from sibyl_runtime.pipeline.listening import Listener
from sibyl_runtime.runtime import IngestReport
from sibyl_runtime.store.records import IdRange
from sibyl_runtime.techniques.receive_documents import GivenDocuments
from sibyl_runtime.workspace import SourceDocument, Workspace


class ServedRuntime(Protocol):
    """The part of runtime.Runtime that HTTP shows."""

    @property
    def workspace(self) -> Workspace:
        """The workspace in force."""

    @property
    def source(self) -> SourceDocument:
        """The document as it was read, with its references unexpanded."""

    @property
    def config_hash(self) -> str:
        """The hash of that document."""

    @property
    def services(self) -> Services:
        """The open parts."""

    async def call_tool(
        self, tool: str, arguments: Mapping[str, Any], *, deadline: Deadline, listener: Listener | None = None
    ) -> ToolOutcome:
        """Answer, or raise a SibylError. A listener hears the answer before it is returned."""

    async def store_documents(self, given: GivenDocuments, *, pipeline: str, deadline: Deadline) -> IngestReport:
        """Store documents that a client gives, or raise a SibylError."""

    async def prune_documents(
        self, source: str, keep: Sequence[str], *, within: IdRange, deadline: Deadline
    ) -> IngestReport:
        """Remove documents that the source no longer has, or raise a SibylError."""

    async def health(self) -> Mapping[str, Any]:
        """The documented health document."""

    async def close(self) -> None:
        """Release everything."""
