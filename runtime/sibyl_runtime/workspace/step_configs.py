"""The settings of every technique that the contract knows the keys of: one model per technique.

The runtime's techniques take these models as they are, so what a document may say and what a technique reads cannot
drift apart.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from sibyl_runtime.workspace.answer_schema import AnswerSchema
from sibyl_runtime.workspace.base import StrictModel, choice, fail_field
from sibyl_runtime.workspace.filters import FilterInvalid, conditions
from sibyl_runtime.workspace.prompts import check_prompt
from sibyl_runtime.workspace.providers import check_dsn
from sibyl_runtime.workspace.references import ArgumentText, EnvironmentText, references_of_kind
from sibyl_runtime.workspace.templates import ChoiceTemplate, TemplateInvalid, is_template
from sibyl_runtime.workspace.text import Name, Text, refers_to_environment

MIB = 1024 * 1024

DEFAULT_PROMPT = (
    "Answer the question from the context below, and from nothing else. "
    "If the context does not hold the answer, say so.\n\nContext:\n{context}\n\nQuestion: {query}\nAnswer:"
)

_PLACEHOLDERS = ("query", "context")


def one_spelling(aliases: dict[str, str]) -> BeforeValidator:
    """A choice may be written with hyphens, and by the other names that `aliases` has for its values."""

    def spell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        written = value.replace("-", "_")
        return aliases.get(written, written)

    return BeforeValidator(spell)


class StepConfig(StrictModel):
    """Base of the settings of a technique."""


class LoadDocumentsConfig(StepConfig):
    """Settings of `data.load_documents`."""

    path: Text | None = Field(None, description="File or directory to read.")
    pattern: Text = Field("**/*", description="Which files of a directory: a glob.")
    streaming: bool = Field(True, description="Pass documents on in batches; false: load all before the next step.")
    chunk_size: int = Field(100, ge=1, le=100_000, description="Documents per batch.")
    max_file_size: int = Field(50 * MIB, ge=1, description="Largest file that is read, in bytes.")
    encoding: Text = Field("utf-8", description="Encoding of files that do not name one.")
    source: Text | None = Field(None, description="Name of this load; documents of it that are gone get removed.")
    id_field: Text = Field("id", description="Field of a record (JSON lines, CSV, a row) that is its id.")
    text_field: Text = Field("text", description="Field of a record (JSON lines, CSV, a row) that is its text.")
    title_field: Text = Field("title", description="Field of a record (JSON lines, CSV, a row) that is its title.")
    dsn: Text | None = Field(None, description="Database that query reads: postgresql://..., or a reference.")
    query: Text | None = Field(None, description="A SELECT in place of files: each of its rows is a document.")
    query_timeout: float = Field(
        300, gt=0, le=86_400, description="Longest wait for the next chunk_size rows of query, in seconds."
    )

    @model_validator(mode="after")
    def _files_or_a_query(self) -> Self:
        if self.query is None:
            for field in ("dsn", "query_timeout"):
                if field in self.model_fields_set and getattr(self, field) is not None:
                    fail_field(field, "has no effect without query; remove it, or set query")
            return self
        for field in ("path", "pattern", "max_file_size", "encoding"):
            if field in self.model_fields_set and getattr(self, field) is not None:
                fail_field(field, "has no effect with query, which reads no files; remove it")
        if self.dsn is None:
            fail_field("dsn", "is required with query: postgresql://user:password@host:5432/database, or a reference")
        if self.source is None:
            fail_field("source", "is required with query: the name under which its documents are kept and removed")
        check_dsn(self.dsn)
        return self


_CHUNKINGS = {"fixed_size": "fixed", "markdown_chunking": "markdown", "sql_chunking": "sql"}


class ChunkingConfig(StepConfig):
    """Settings of `rag.chunking`."""

    subtechnique: Annotated[
        Literal["markdown", "fixed", "recursive", "semantic", "code", "sql"], one_spelling(_CHUNKINGS)
    ] = Field("markdown", description="Where chunks end.")
    chunk_size: int = Field(256, ge=16, le=8192, description="Longest chunk, in tokens of the embedding model.")
    chunk_overlap: int = Field(32, ge=0, le=8191, description="Tokens that a chunk repeats of the one before it.")
    breakpoint_percentile: float = Field(
        90, ge=1, le=99, description="With semantic: percent of the gaps between sentences that are no change of topic."
    )
    batch_size: int = Field(100, ge=1, le=100_000, description="Documents per batch.")

    @model_validator(mode="after")
    def _percentile_is_used(self) -> Self:
        if "breakpoint_percentile" in self.model_fields_set and self.subtechnique != "semantic":
            fail_field(
                "breakpoint_percentile",
                f"has no effect with subtechnique {self.subtechnique}; remove it, or set subtechnique: semantic",
            )
        return self

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> Self:
        if self.chunk_overlap >= self.chunk_size:
            if "chunk_overlap" in self.model_fields_set:
                fail_field("chunk_overlap", f"must be below chunk_size ({self.chunk_size}), found {self.chunk_overlap}")
            fail_field("chunk_size", f"must be above chunk_overlap ({self.chunk_overlap}), found {self.chunk_size}")
        return self


class EmbeddingConfig(StepConfig):
    """Settings of `rag.embedding`."""

    subtechnique: Annotated[Literal["batch", "streaming"], one_spelling({"sentence_transformer": "batch"})] = Field(
        "batch",
        description="What is stored together: the documents of one batch of rag.chunking, or each few as soon as they "
        "fill the calls that go on at once (streaming).",
    )
    batch_size: int = Field(64, ge=1, le=4096, description="Chunks embedded at once.")
    provider: Name | None = Field(None, description="Which of providers.embedding; none: the default.")
    max_concurrent: int | None = Field(
        None, ge=1, le=64, description="Batches of batch_size at once; none: the provider's, else workers, else 1."
    )
    workers: int | None = Field(
        None, ge=1, le=64, description="Processes that embed, each with a model of its own; none: this one's threads."
    )
    clear_cache_after_batch: bool = Field(
        False, description="After each batch, hand memory that nothing uses back to the system, or to the device."
    )

    @model_validator(mode="after")
    def _every_worker_has_a_batch(self) -> Self:
        if self.workers is not None and self.max_concurrent is not None and self.max_concurrent < self.workers:
            fail_field(
                "max_concurrent",
                f"must be at least workers ({self.workers}), found {self.max_concurrent}: every process embeds one "
                "batch; raise it, remove it, or lower workers",
            )
        return self


class StoreVectorsConfig(StepConfig):
    """Settings of `data.store_vectors`."""

    provider: Name | None = Field(None, description="Which of providers.vector_store; none: the default.")


_RETRIEVALS = {
    "similarity": "vector", "semantic_search": "vector", "vector_search": "vector", "keyword_search": "keyword",
    "bm25": "keyword", "hybrid_search": "hybrid", "rrf": "hybrid",
}  # fmt: skip
_RETRIEVAL_KINDS = Literal["hybrid", "vector", "keyword", "mmr", "diversity", "contextual", "multi_vector"]


class RetrievalConfig(StepConfig):
    """Settings of `rag.retrieval`."""

    subtechnique: Annotated[_RETRIEVAL_KINDS, one_spelling(_RETRIEVALS)] = choice(
        "hybrid",
        "How chunks are chosen: by meaning (vector), by words (keyword), by both, or near ones that differ (mmr).",
        planned_values=("diversity", "contextual", "multi_vector"),
    )
    top_k: int = Field(5, ge=1, le=1000, description="Chunks to return.")
    similarity_threshold: float | None = Field(
        None, ge=-1, le=1, description="Drop chunks below this similarity of vectors, whatever chose them."
    )
    filters: dict[str, Any] = Field(
        {},
        description="Metadata that chunks must have: a value, or eq, ne, gt, gte, lt, lte, in, not_in, exists.",
    )
    mmr_lambda: float = Field(
        0.5, ge=0, le=1, description="Of mmr: 1 looks at nearness alone, 0 at difference from chunks already chosen."
    )
    mmr_candidates: int | None = Field(
        None, ge=1, le=1000, description="Of mmr: chunks to choose from; none: 4 x top_k, 20 to 1000."
    )
    adaptive_k: bool = Field(False, description="Return fewer than top_k: end where similarity falls most.")
    min_k: int = Field(1, ge=1, le=1000, description="Fewest chunks that adaptive_k leaves.")
    max_context_tokens: int | None = Field(
        None, ge=1, le=1_000_000, description="Most tokens of all chunks returned; the best chunk always is."
    )
    provider: Name | None = Field(None, description="Which of providers.vector_store; none: the default.")

    @model_validator(mode="after")
    def _filters_can_be_applied(self) -> Self:
        try:
            conditions(self.filters)
        except FilterInvalid as error:
            fail_field("filters", f"{error.place} {error.message}")
        return self

    @model_validator(mode="after")
    def _settings_have_effect(self) -> Self:
        for name in ("mmr_lambda", "mmr_candidates"):
            if name in self.model_fields_set and self.subtechnique != "mmr":
                fail_field(name, f"has no effect with subtechnique {self.subtechnique}; remove it, or set mmr")
        if self.mmr_candidates is not None and self.mmr_candidates < self.top_k:
            fail_field("mmr_candidates", f"must be at least top_k ({self.top_k}), found {self.mmr_candidates}")
        if "min_k" in self.model_fields_set and not self.adaptive_k:
            fail_field("min_k", "has no effect without adaptive_k; remove it, or set adaptive_k: true")
        if self.min_k > self.top_k:
            fail_field("min_k", f"must not be above top_k ({self.top_k}), found {self.min_k}")
        return self


_GENERATIONS = {"basic_generation": "standard"}
_GENERATION_KINDS = Literal[
    "standard", "streaming", "structured", "chat", "instruct", "chain_of_thought", "react", "tree_of_thought",
    "self_consistency",
]  # fmt: skip


INSIDE_A_TEMPLATE = "holds a parameter inside a template; a caller's text must not be part of one"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class GenerationConfig(StepConfig):
    """Settings of `ai_generation.generation`. What is None here is taken from the provider."""

    subtechnique: Annotated[_GENERATION_KINDS, one_spelling(_GENERATIONS)] = choice(
        "standard",
        "How the answer is made: whole, in parts as it is written (streaming), or as an object that fits a schema.",
        planned_values=(
            "chat", "instruct", "chain_of_thought", "react", "tree_of_thought",
            "self_consistency",
        ),
    )  # fmt: skip
    provider: Text | None = Field(
        None, description="Which of providers.llm, or a template that chooses one; none: the default."
    )
    max_tokens: int | None = Field(None, ge=1, le=1_000_000, description="Longest answer, in tokens.")
    temperature: float | None = Field(None, ge=0, le=2, description="Randomness of sampling.")
    stop_sequences: list[Annotated[str, Field(min_length=1)]] = Field(
        [], max_length=16, description="Texts at which the answer ends."
    )
    prompt: Text = Field(DEFAULT_PROMPT, description="Prompt, with {query} and {context} where they belong.")
    system_prompt: Text | None = Field(None, description="What the model is told before the prompt.")
    chunk_size: int = Field(1, ge=1, le=10_000, description="Of streaming: tokens per part of the answer.")
    answer_schema: AnswerSchema | None = Field(
        None, description="Of structured: the JSON Schema that the answer has to fit, an object."
    )

    fallback_providers: list[Name] = Field(
        [], max_length=8, description="Which of providers.llm are asked, in turn, when the one before fails."
    )

    @model_validator(mode="after")
    def _settings_have_effect(self) -> Self:
        for name, kind in (("chunk_size", "streaming"), ("answer_schema", "structured")):
            if name in self.model_fields_set and self.subtechnique != kind:
                fail_field(
                    name, f"has no effect with subtechnique {self.subtechnique}; remove it, or set subtechnique: {kind}"
                )
        if self.subtechnique == "structured":
            if self.answer_schema is None:
                fail_field("answer_schema", "is missing; subtechnique structured needs the JSON Schema of the answer")
            if self.answer_schema.type != "object":
                fail_field("answer_schema", f"must be of type object, found {self.answer_schema.type}")
        return self

    @model_validator(mode="after")
    def _prompt_can_be_filled(self) -> Self:
        check_prompt(self.prompt, _PLACEHOLDERS)
        return self

    @model_validator(mode="before")
    @classmethod
    def _provider_can_be_chosen(cls, data: Any) -> Any:
        # Before the fields are read: afterwards nothing tells a text of the environment from the document's own.
        provider = data.get("provider") if isinstance(data, dict) else None
        if not isinstance(provider, str) or isinstance(provider, ArgumentText):
            return data
        if provider in _listed(data.get("fallback_providers")):
            fail_field("fallback_providers", f'holds "{provider}", which is the provider itself; remove it')
        if not is_template(provider) or refers_to_environment(provider):
            return data
        if references_of_kind("parameter", provider):
            fail_field("provider", INSIDE_A_TEMPLATE)
        try:
            ChoiceTemplate.parse(provider)
        except TemplateInvalid as error:
            if isinstance(provider, EnvironmentText):  # which is never shown, nor any part of it
                fail_field("provider", f"the value of {provider.reference} holds a template that cannot be read")
            fail_field("provider", str(error))
        return data

    @model_validator(mode="after")
    def _fallbacks_differ(self) -> Self:
        for name in self.fallback_providers:
            if self.fallback_providers.count(name) > 1:
                fail_field("fallback_providers", f'holds "{name}" twice; keep one of them')
        return self


DEFAULT_CROSS_ENCODER = "cross-encoder/ms-marco-MiniLM-L-6-v2"
_RERANKINGS = {
    "llm_rerank": "llm", "bm25_rerank": "bm25", "rrf": "fusion", "diversity_rerank": "diversity", "mmr": "diversity",
}  # fmt: skip
_RERANKING_KINDS = Literal["cross_encoder", "llm", "bm25", "fusion", "diversity", "colbert"]
_ONE_RERANKING = {
    "model": "cross_encoder", "backend": "cross_encoder", "device": "cross_encoder", "provider": "llm",
    "mmr_lambda": "diversity",
}  # fmt: skip


class RerankingConfig(StepConfig):
    """Settings of `rag.reranking`."""

    subtechnique: Annotated[_RERANKING_KINDS, one_spelling(_RERANKINGS)] = choice(
        "cross_encoder",
        "What puts the chunks found in order: a model that reads question and chunk together (cross_encoder), a "
        "language model (llm), their words (bm25), words and the order found (fusion), or difference (diversity).",
        planned_values=("colbert",),
    )
    top_k: int | None = Field(None, ge=1, le=1000, description="Chunks to keep; none: all, in their new order.")
    model: Text = Field(
        DEFAULT_CROSS_ENCODER, description="Of cross_encoder: name of the model, or path of its directory."
    )
    backend: Literal["onnx", "torch"] = Field(
        "onnx", description="Of cross_encoder: what runs it, onnxruntime or sentence-transformers."
    )
    device: Literal["cpu", "cuda", "mps"] = Field(
        "cpu", description="Of cross_encoder: where it runs; cuda and mps need backend torch."
    )
    provider: Name | None = Field(None, description="Of llm: which of providers.llm; none: the default.")
    mmr_lambda: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Of diversity: 1 looks at nearness alone, 0 at difference from chunks already kept.",
    )

    @model_validator(mode="after")
    def _settings_have_effect(self) -> Self:
        for name, subtechnique in _ONE_RERANKING.items():
            if name in self.model_fields_set and self.subtechnique != subtechnique:
                fail_field(
                    name,
                    f"has no effect with subtechnique {self.subtechnique}; remove it, or set subtechnique: "
                    f"{subtechnique}",
                )
        return self

    @model_validator(mode="after")
    def _device_has_its_backend(self) -> Self:
        if self.device != "cpu" and self.backend != "torch":
            fail_field("device", f"{self.device} needs backend: torch; backend onnx runs on cpu")
        return self


class QueryClassifierConfig(StepConfig):
    """Settings of `infrastructure.query_classifier`."""

    complexity_threshold: float = Field(
        0.7, ge=0, le=1, description="From which complexity on a query counts as complex (is_complex)."
    )


class AnyConfig(StepConfig):
    """Settings of a technique that is known by name only."""

    model_config = ConfigDict(extra="allow")
