"""The contract: one workspace document, read and judged the same way by the operator and by the runtime.

Pure: no I/O but reading the one file, no environment but the one that is passed in, nothing but
pydantic, PyYAML and, for templates, Jinja.
Everything that other packages may use is exported here.
"""

from __future__ import annotations

from sibyl_runtime.workspace.answer_schema import AnswerSchema
from sibyl_runtime.workspace.arguments import pipeline_parameters, validate_arguments, validate_parameters
from sibyl_runtime.workspace.base import PLANNED, PLANNED_VALUES, StrictModel
from sibyl_runtime.workspace.caching import Caching, MemoryCache, RedisCache
from sibyl_runtime.workspace.canonical import effective_hash, redact
from sibyl_runtime.workspace.checks.protection import written_keys
from sibyl_runtime.workspace.comparison import ConditionError, NoResult
from sibyl_runtime.workspace.conditions import Condition
from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.environment import EnvironmentReference, environment_references, expand_environment
from sibyl_runtime.workspace.errors import (
    ArgumentsInvalid,
    Lines,
    Location,
    Problem,
    WorkspaceInvalid,
    format_path,
    line_of,
    problem_at,
    suggestion,
)
from sibyl_runtime.workspace.literals import Held, literal_secrets
from sibyl_runtime.workspace.mcp import Mcp, ServerInfo, Tool
from sibyl_runtime.workspace.meaning import (
    depends_on_parameters,
    latency_buckets,
    run_parameters,
    step_config,
    written_values,
)
from sibyl_runtime.workspace.notices import literal_notice, notices
from sibyl_runtime.workspace.observability import Kpi, Logging, Metrics, Observability
from sibyl_runtime.workspace.parameters import ToolParameter
from sibyl_runtime.workspace.parsing import parse_workspace
from sibyl_runtime.workspace.pipelines import FUSED, Budget, Parallel, Pipeline, Step
from sibyl_runtime.workspace.protection import (
    SHARED_SECRET_ALGORITHMS,
    Authentication,
    Cdn,
    Compression,
    Cors,
    KeyMetadata,
    RateLimit,
    RateLimiting,
    is_key_digest,
)
from sibyl_runtime.workspace.providers import (
    EmbeddingProvider,
    LlmProvider,
    LlmRateLimit,
    Providers,
    ReplicaProvider,
    VectorStoreProvider,
    VectorStores,
)
from sibyl_runtime.workspace.reading import SourceDocument, load_document
from sibyl_runtime.workspace.references import MalformedReference, Reference, references, whole_reference
from sibyl_runtime.workspace.remote_models import address_fault, unreachable_models
from sibyl_runtime.workspace.reranking import cross_encoders
from sibyl_runtime.workspace.search_configs import AugmentationConfig, QueryProcessingConfig
from sibyl_runtime.workspace.secrecy import REDACTED, is_address_name, is_secret_name
from sibyl_runtime.workspace.shops import Shop, canonical_shop
from sibyl_runtime.workspace.step_configs import (
    DEFAULT_PROMPT,
    ChunkingConfig,
    EmbeddingConfig,
    GenerationConfig,
    LoadDocumentsConfig,
    QueryClassifierConfig,
    RerankingConfig,
    RetrievalConfig,
    StepConfig,
    StoreVectorsConfig,
)
from sibyl_runtime.workspace.techniques import TECHNIQUES, TechniqueSpec, UnknownTechnique, technique
from sibyl_runtime.workspace.templates import ChoiceFailed, ChoiceTemplate, TemplateInvalid, is_template
from sibyl_runtime.workspace.tracing import Sampling, Tracing
from sibyl_runtime.workspace.warmed import NoToolToWarm, warmed_tool, warming_pipelines
from sibyl_runtime.workspace.warming import CACHE_WARMING, CacheWarmingConfig

__all__ = [
    "CACHE_WARMING",
    "DEFAULT_PROMPT",
    "FUSED",
    "PLANNED",
    "PLANNED_VALUES",
    "REDACTED",
    "SHARED_SECRET_ALGORITHMS",
    "TECHNIQUES",
    "AnswerSchema",
    "ArgumentsInvalid",
    "AugmentationConfig",
    "Authentication",
    "Budget",
    "CacheWarmingConfig",
    "Caching",
    "Cdn",
    "ChoiceFailed",
    "ChoiceTemplate",
    "ChunkingConfig",
    "Compression",
    "Condition",
    "ConditionError",
    "Cors",
    "EmbeddingConfig",
    "EmbeddingProvider",
    "EnvironmentReference",
    "GenerationConfig",
    "Held",
    "KeyMetadata",
    "Kpi",
    "Lines",
    "LlmProvider",
    "LlmRateLimit",
    "LoadDocumentsConfig",
    "Location",
    "Logging",
    "MalformedReference",
    "Mcp",
    "MemoryCache",
    "Metrics",
    "NoResult",
    "NoToolToWarm",
    "Observability",
    "Parallel",
    "Pipeline",
    "Problem",
    "Providers",
    "QueryClassifierConfig",
    "QueryProcessingConfig",
    "RateLimit",
    "RateLimiting",
    "RedisCache",
    "Reference",
    "ReplicaProvider",
    "RerankingConfig",
    "RetrievalConfig",
    "Sampling",
    "ServerInfo",
    "Shop",
    "SourceDocument",
    "Step",
    "StepConfig",
    "StoreVectorsConfig",
    "StrictModel",
    "TechniqueSpec",
    "TemplateInvalid",
    "Tool",
    "ToolParameter",
    "Tracing",
    "UnknownTechnique",
    "VectorStoreProvider",
    "VectorStores",
    "Workspace",
    "WorkspaceInvalid",
    "address_fault",
    "canonical_shop",
    "cross_encoders",
    "depends_on_parameters",
    "effective_hash",
    "environment_references",
    "expand_environment",
    "format_path",
    "is_address_name",
    "is_key_digest",
    "is_secret_name",
    "is_template",
    "latency_buckets",
    "line_of",
    "literal_notice",
    "literal_secrets",
    "load_document",
    "notices",
    "parse_workspace",
    "pipeline_parameters",
    "problem_at",
    "redact",
    "references",
    "run_parameters",
    "step_config",
    "suggestion",
    "technique",
    "unreachable_models",
    "validate_arguments",
    "validate_parameters",
    "warmed_tool",
    "warming_pipelines",
    "whole_reference",
    "written_keys",
    "written_values",
]
