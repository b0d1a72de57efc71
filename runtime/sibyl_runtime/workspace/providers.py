"""The `providers` section: which models answer and embed, and where vectors live."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeVar

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sibyl_runtime.workspace.base import StrictModel, choice, fail_field, is_planned, planned
from sibyl_runtime.workspace.faiss_types import ALLOWED, parse_faiss_type
from sibyl_runtime.workspace.text import CollectionName, Name, Text, refers_to_environment

_EXTRACTIVE_FIELDS = frozenset({"kind", "model", "max_tokens"})
_HNSW_FIELDS = ("hnsw_m", "hnsw_ef_construction", "hnsw_ef_search")
_IVFFLAT_FIELDS = ("lists", "probes")
TextSearch = Literal[
    "english", "simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "finnish", "french", "german",
    "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "portuguese",
    "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish",
]  # fmt: skip
"""The text search configurations that every PostgreSQL has; `simple` reads words as they are, without stems."""
ReadStrategy = Literal["round_robin", "random", "least_loaded"]

_REPLICA_FIELDS = ("replicas", "read_strategy")
_LOCAL_FIELDS = ("device", "backend", "precision")
_REMOTE_FIELDS = ("dimensions", "api_key", "base_url", "timeout", "max_retries")
_MOST_TEXTS_OF_A_REQUEST = 2048
_PGVECTOR_INDEXES = ("auto", "hnsw", "ivfflat", "none")
_PGVECTOR_FIELDS = ("create_index", "hnsw_m", *_IVFFLAT_FIELDS)
_FAISS_GRAPH_FIELDS = ("hnsw_ef_construction", "hnsw_ef_search")


class LlmRateLimit(StrictModel):
    """How much of a provider's quota each runtime process may use, in any minute. What is above it waits its turn."""

    requests_per_minute: int | None = Field(None, ge=1, le=100_000, description="Requests a minute, retries included.")
    tokens_per_minute: int | None = Field(
        None, ge=1, description="Tokens a minute, read and written; what a request will take is estimated before it."
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            fail_field("requests_per_minute", "or tokens_per_minute must be set, else nothing is limited")
        return self


class LlmProvider(StrictModel):
    """One language model. `extractive` needs no key: it answers with the best sentences of the retrieved chunks."""

    kind: Literal["openai", "extractive", "anthropic", "ollama", "mock"] = choice(
        ..., "How the model is reached.", planned_values=("anthropic", "ollama", "mock")
    )
    model: Text | None = Field(None, description="The model's name; required for kind openai.")
    api_key: Text | None = Field(None, description="Key of the provider: a reference such as ${OPENAI_API_KEY}.")
    base_url: Text | None = Field(None, description="Address of an OpenAI-compatible server; none: OpenAI's own.")
    temperature: float | None = Field(None, ge=0, le=2, description="Randomness of sampling.")
    max_tokens: int | None = Field(None, ge=1, le=1_000_000, description="Longest answer, in tokens.")
    top_p: float | None = Field(None, gt=0, le=1, description="Share of probability mass to sample from.")
    frequency_penalty: float | None = Field(None, ge=-2, le=2, description="Penalty for repeated tokens.")
    presence_penalty: float | None = Field(None, ge=-2, le=2, description="Penalty for tokens already used.")
    timeout: float = Field(60.0, gt=0, le=3600, description="Longest wait for one answer, in seconds.")
    max_retries: int = Field(
        2, ge=0, le=10, description="Retries of a request that failed in a way that may pass, within its deadline."
    )
    max_connections: int = Field(100, ge=1, le=10_000, description="Connections kept to the provider.")
    keep_alive: bool = Field(True, description="Reuse connections.")
    rate_limit: LlmRateLimit | None = Field(None, description="Quota that is kept here, ahead of the provider's own.")
    retry_delay: float = Field(
        0.5, gt=0, le=60, description="Longest wait before the first retry, in seconds; the wait is drawn from 0 to it."
    )
    exponential_backoff: bool = Field(True, description="Double the longest wait with each retry, up to 8 s.")
    num_ctx: int | None = planned("Context length of an ollama model.")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "openai" and self.model is None:
            fail_field("model", "is required for kind openai; name the model to use")
        if self.max_retries == 0:
            for name in ("retry_delay", "exponential_backoff"):
                if name in self.model_fields_set:
                    fail_field(name, "has no effect with max_retries 0; remove it")
        if self.kind == "extractive":
            for name in type(self).model_fields:
                if (
                    name in self.model_fields_set
                    and name not in _EXTRACTIVE_FIELDS
                    and not is_planned(type(self).model_fields[name])
                ):
                    fail_field(name, "has no effect with kind extractive; remove it")
        return self


class EmbeddingProvider(StrictModel):
    """The model that turns text into vectors."""

    kind: Literal["sentence-transformer", "openai", "fastembed", "mock"] = choice(
        "sentence-transformer",
        "Where the model runs: here, or on a server that speaks OpenAI's API.",
        planned_values=("fastembed", "mock"),
    )
    model: Text = Field(
        "all-MiniLM-L6-v2", description="Name of the model, or path of its directory; required for kind openai."
    )
    device: Literal["cpu", "cuda", "mps"] = Field("cpu", description="Where it runs; cuda and mps need backend torch.")
    backend: Literal["onnx", "torch"] = Field(
        "onnx", description="What runs it: onnxruntime, or sentence-transformers."
    )
    precision: Literal["auto", "int8", "fp32"] = Field(
        "auto", description="Arithmetic of backend onnx; auto takes int8 where the processor is fast at it."
    )
    batch_size: int = Field(
        64, ge=1, le=4096, description="Texts per run of the model, or per request of kind openai: at most 2048 there."
    )
    max_seq_length: int | None = Field(
        None, ge=8, le=32_768, description="Longest text, in tokens; none: the model's, 8191 for kind openai."
    )
    normalize: bool = Field(
        True, description="Scale vectors to unit length; false needs distance_metric euclidean or dot_product."
    )
    max_concurrent: int | None = Field(
        None, ge=1, le=64, description="Batches of an ingest at once, where its step does not say."
    )
    cache_dir: str | None = planned("Where downloaded models are kept.")
    dimensions: int | None = Field(
        None, ge=1, le=4000, description="Of kind openai: length to which the model shortens its vectors."
    )
    api_key: Text | None = Field(None, description="Of kind openai: a reference such as ${OPENAI_API_KEY}.")
    base_url: Text | None = Field(
        None, description="Of kind openai: address of a server that speaks its API; none: OpenAI's own."
    )
    timeout: float = Field(60.0, gt=0, le=3600, description="Of kind openai: longest wait for one answer, in seconds.")
    max_retries: int = Field(2, ge=0, le=10, description="Of kind openai: retries of a failed request.")

    @model_validator(mode="before")
    @classmethod
    def _canonical_kind(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("kind") in ("sentence_transformer", "sentence-transformers"):
            return {**data, "kind": "sentence-transformer"}
        return data

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        idle = {"openai": _LOCAL_FIELDS, "sentence-transformer": _REMOTE_FIELDS}
        for name in idle.get(self.kind, ()):
            if name in self.model_fields_set:
                fail_field(name, f"has no effect with kind {self.kind}; remove it")
        if self.kind == "openai" and "model" not in self.model_fields_set:
            fail_field("model", "is required for kind openai; name the model to use")
        if self.kind == "openai" and self.batch_size > _MOST_TEXTS_OF_A_REQUEST:
            fail_field(
                "batch_size", f"must be at most {_MOST_TEXTS_OF_A_REQUEST} with kind openai, found {self.batch_size}"
            )
        return self

    @model_validator(mode="after")
    def _precision_is_for_onnx(self) -> Self:
        if self.backend == "torch" and self.precision != "auto":
            fail_field("precision", "has no effect with backend torch; remove it")
        return self


class HnswConfig(StrictModel):
    """Index settings of a qdrant collection."""

    m: int | None = Field(None, ge=2, description="Links per node.")
    ef_construct: int | None = Field(None, ge=4, description="Candidates considered while building.")


class ReplicaProvider(StrictModel):
    """A read replica of the store that it stands in."""

    dsn: Text = Field(description="postgresql://... of the replica, or a reference.")

    @model_validator(mode="after")
    def _dsn_is_postgresql(self) -> Self:
        check_dsn(self.dsn)
        return self


class VectorStoreProvider(StrictModel):
    """One vector store. Without `dsn`, the runtime starts an embedded PostgreSQL of its own."""

    kind: Literal["pgvector", "faiss", "duckdb", "qdrant"] = choice(
        "pgvector",
        "What searches the vectors, which PostgreSQL keeps: PostgreSQL itself, or an index in this process's memory.",
        planned_values=("duckdb", "qdrant"),
    )
    dsn: Text | None = Field(None, description="postgresql://... or a reference such as ${DATABASE_URL}. Alias: url.")
    collection_name: CollectionName = Field("documents", description="Prefix of the tables of this collection.")
    distance_metric: Literal["cosine", "euclidean", "dot_product"] = Field("cosine", description="How nearness counts.")
    dimension: int | None = Field(None, ge=1, le=4000, description="Length of the vectors; none: the model's.")
    text_search: TextSearch = Field(
        "english", description="Language of keyword and hybrid search; simple: words as they are, in any language."
    )
    pool_size: int = Field(4, ge=1, le=1000, description="Connections kept open, per runtime process.")
    max_overflow: int = Field(0, ge=0, le=1000, description="Connections above pool_size under load.")
    pool_timeout: float = Field(2.0, gt=0, le=300, description="Longest wait for a connection, in seconds.")
    pool_recycle: float = Field(3600.0, ge=1, description="Age at which a connection is replaced, in seconds.")
    pool_pre_ping: bool = Field(False, description="Test each connection before use.")
    index_type: Text = Field(
        "auto",
        description="pgvector: auto, hnsw, ivfflat or none; auto follows the row count. faiss: Flat, which is auto, "
        "IVF<cells>,Flat, HNSW<links>, and others.",
    )
    create_index: bool = Field(True, description="Build the index; false leaves it to the database's owner.")
    hnsw_m: int = Field(16, ge=2, le=100, description="Links per node of the HNSW graph.")
    hnsw_ef_construction: int = Field(64, ge=4, le=1000, description="Candidates while building; at least 2 x hnsw_m.")
    hnsw_ef_search: int = Field(40, ge=1, le=1000, description="Candidates while searching; lower is faster.")
    lists: int | None = Field(None, ge=1, le=32_768, description="Cells of an ivfflat index; none: from the row count.")
    probes: int | None = Field(None, ge=1, le=32_768, description="Cells that a search of ivfflat visits.")
    timeout: float = Field(30.0, gt=0, le=3600, description="Longest statement, in seconds.")
    replicas: list[ReplicaProvider] = Field(
        [], max_length=16, description="Read replicas of dsn that searches go to; each has a pool of its own."
    )
    read_strategy: ReadStrategy = Field(
        "round_robin", description="How a search chooses among the replicas that are there."
    )
    nprobe: int | None = Field(
        None, ge=1, le=65_536, description="Cells that a search of a FAISS IVF index visits; none: their square root."
    )
    metric: str | None = planned("Distance of a FAISS index.")
    index_path: str | None = planned("File of a FAISS index.")
    on_disk: bool | None = planned("Keep qdrant vectors on disk.")
    encryption: dict[str, Any] | None = planned("Encryption at rest.")
    api_key: str | None = planned("Key of a qdrant server.")
    hnsw_config: HnswConfig | None = planned("Index settings of qdrant.")

    @model_validator(mode="before")
    @classmethod
    def _url_is_dsn(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "url" not in data:
            return data
        if "dsn" in data:
            fail_field("url", "means the same as dsn; keep one of them")
        return {("dsn" if key == "url" else key): value for key, value in data.items()}

    @model_validator(mode="after")
    def _dsn_is_postgresql(self) -> Self:
        if self.kind in ("pgvector", "faiss") and self.dsn is not None:
            check_dsn(self.dsn)
        return self

    @model_validator(mode="after")
    def _fits_its_faiss_index(self) -> Self:
        if self.kind != "faiss":
            return self
        for name in _PGVECTOR_FIELDS:
            if name in self.model_fields_set:
                fail_field(name, "has no effect with kind faiss, whose index_type says it all; remove it")
        if refers_to_environment(self.index_type):
            return self
        wanted = parse_faiss_type(self.index_type)
        if wanted is None:
            fail_field("index_type", f'found "{self.index_type}"; allowed for faiss: {ALLOWED}')
        for name in _FAISS_GRAPH_FIELDS:
            if name in self.model_fields_set and wanted.family != "HNSW":
                fail_field(name, f"has no effect with index_type {self.index_type}, which is no HNSW index; remove it")
        if self.nprobe is not None and wanted.family != "IVF":
            fail_field("nprobe", f"has no effect with index_type {self.index_type}, which has no cells; remove it")
        if self.nprobe is not None and self.nprobe > wanted.cells:
            fail_field("nprobe", f"must be at most {wanted.cells}, the cells of {self.index_type}; found {self.nprobe}")
        return self

    @model_validator(mode="after")
    def _fits_its_index(self) -> Self:
        if self.kind != "pgvector":
            return self
        if self.nprobe is not None:
            fail_field("nprobe", "has no effect with kind pgvector, whose ivfflat has probes; remove it")
        if self.index_type not in _PGVECTOR_INDEXES and not refers_to_environment(self.index_type):
            fail_field("index_type", f'found "{self.index_type}"; allowed for pgvector: {", ".join(_PGVECTOR_INDEXES)}')
        if self.hnsw_ef_construction < 2 * self.hnsw_m:
            fail_field(
                "hnsw_ef_construction",
                f"must be at least 2 x hnsw_m = {2 * self.hnsw_m}, found {self.hnsw_ef_construction}",
            )
        self._index_fields_have_effect()
        return self

    def _index_fields_have_effect(self) -> None:
        idle = {"hnsw": _IVFFLAT_FIELDS, "ivfflat": _HNSW_FIELDS, "none": _HNSW_FIELDS + _IVFFLAT_FIELDS}
        for name in idle.get(self.index_type, ()):
            if name in self.model_fields_set:
                fail_field(name, f"has no effect with index_type {self.index_type}; remove it")


def check_dsn(dsn: str) -> None:
    """Say, from a validator of a whole model, that its `dsn` is none of PostgreSQL's."""
    if refers_to_environment(dsn) or dsn.startswith(("postgresql://", "postgres://")) or "=" in dsn:
        return
    fail_field("dsn", "must start with postgresql:// (what it holds is not shown here)")


DEFAULT_NAMES = ("default", "primary", "main")
P = TypeVar("P")


def default_provider(providers: dict[str, P], otherwise: P) -> tuple[str, P]:
    """The provider that a step without `provider` uses, and its name; `otherwise` under `default` when there is none.

    The key `default`, `primary` or `main` in this order, else the only one, else the first by name: YAML order does
    not survive a cluster.
    """
    if not providers:
        return "default", otherwise
    name = next((name for name in DEFAULT_NAMES if name in providers), min(providers))
    return name, providers[name]


class VectorStores(StrictModel):
    """The `vector_store` map: named stores, and beside them two keys that are settings of the default store."""

    named: dict[Name, VectorStoreProvider] = Field({}, description="Stores by name.")
    replicas: list[ReplicaProvider] | None = Field(None, max_length=16, description="`replicas` of the default store.")
    read_strategy: ReadStrategy | None = Field(None, description="`read_strategy` of the default store.")

    @model_validator(mode="before")
    @classmethod
    def _split_names_from_settings(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        settings = {key: data[key] for key in _REPLICA_FIELDS if key in data}
        return {"named": {key: value for key, value in data.items() if key not in settings}, **settings}

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        name, store = default_provider(self.named, VectorStoreProvider())
        for field in _REPLICA_FIELDS:
            if getattr(self, field) is not None and field in store.model_fields_set:
                fail_field(field, f"means the same as {name}.{field}; keep one of them")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the map as documents have it: two keys of its own, and stores under any other name."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        named = schema.get("properties", {}).pop("named", {})
        schema["additionalProperties"] = named.get("additionalProperties", True)
        return schema

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        held: dict[str, Any] = handler(self)
        named: dict[str, Any] = held.pop("named", {})
        return {**named, **held}

    @property
    def default(self) -> tuple[str, VectorStoreProvider]:
        """The store that is used, see `default_provider`, with the settings that stand beside it."""
        name, store = default_provider(self.named, VectorStoreProvider())
        beside = {field: getattr(self, field) for field in _REPLICA_FIELDS}
        given = {field: value for field, value in beside.items() if value is not None}
        return name, store.model_copy(update=given) if given else store


class Providers(StrictModel):
    """Models and stores by name. Each kind has a default: the key `default`, `primary` or `main`, or the only one."""

    llm: dict[Name, LlmProvider] = Field({}, description="Language models by name.")
    embedding: dict[Name, EmbeddingProvider] = Field({}, description="Embedding models by name.")
    vector_store: VectorStores = Field(VectorStores(), description="Vector stores by name.")
    document_sources: dict[str, Any] | None = planned("Named places that documents come from.")
    sql: dict[str, Any] | None = planned("SQL databases.")
    mcp: dict[str, Any] | None = planned("Other MCP servers.")
