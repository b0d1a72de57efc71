"""Documents that the tests of the contract share: one that uses everything available, and ways to change it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from sibyl_runtime.workspace import Problem, Workspace, WorkspaceInvalid, parse_workspace

Path = tuple[str | int, ...]

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Rule",
    "description": "A rule of the handbook.",
    "properties": {
        "days": {"type": "integer", "minimum": 0, "maximum": 365},
        "name": {"type": "string", "minLength": 1, "maxLength": 80, "pattern": "[a-z]", "enum": ["leave", "travel"]},
        "notes": {"type": "array", "items": {"type": "string"}, "minItems": 0, "maxItems": 5},
    },
    "required": ["name"],
    "additionalProperties": False,
}

FULL: dict[str, Any] = {
    "name": "handbook",
    "description": "Answers from the staff handbook.",
    "version": "1.2",
    "author": "Platform team",
    "tags": ["internal"],
    "providers": {
        "llm": {
            "primary": {
                "kind": "openai",
                "model": "gpt-4o-mini",
                "api_key": "${OPENAI_API_KEY:-none}",
                "base_url": "http://localhost:1234/v1",
                "temperature": 0.2,
                "max_tokens": 600,
                "top_p": 0.9,
                "frequency_penalty": 0.1,
                "presence_penalty": 0.1,
                "timeout": 20,
                "max_retries": 3,
                "max_connections": 50,
                "keep_alive": True,
                "rate_limit": {"requests_per_minute": 60, "tokens_per_minute": 90000},
                "retry_delay": 0.25,
                "exponential_backoff": True,
            },
            "plain": {"kind": "extractive", "max_tokens": 200},
        },
        "embedding": {
            "default": {
                "kind": "sentence-transformer",
                "model": "all-MiniLM-L6-v2",
                "device": "cpu",
                "backend": "onnx",
                "precision": "int8",
                "batch_size": 32,
                "max_seq_length": 256,
                "normalize": True,
                "max_concurrent": 2,
            }
        },
        "vector_store": {
            "main": {
                "kind": "pgvector",
                "dsn": "${DATABASE_URL:-postgresql://localhost/sibyl}",
                "collection_name": "handbook",
                "distance_metric": "cosine",
                "dimension": 384,
                "pool_size": 8,
                "max_overflow": 2,
                "pool_timeout": 1.5,
                "text_search": "german",
                "pool_recycle": 1800,
                "pool_pre_ping": True,
                "index_type": "hnsw",
                "create_index": True,
                "hnsw_m": 12,
                "hnsw_ef_construction": 100,
                "hnsw_ef_search": 80,
                "timeout": 10,
                "replicas": [{"dsn": "${REPLICA_URL:-postgresql://replica/sibyl}"}],
                "read_strategy": "random",
            }
        },
    },
    "shops": {
        "rag": {
            "enabled": True,
            "config": {"chunk_size": 300},
            "techniques": {"retrieval": {"similarity_threshold": 0.1}},
        },
        "infrastructure": {
            "config": {
                "caching": {
                    "enabled": True,
                    "backend": "memory",
                    "ttl": 600,
                    "cache_generations": True,
                    "memory": {"enabled": True, "max_size": 500, "ttl": 60},
                    "redis": {"enabled": True, "url": "redis://localhost:6379/0", "ttl": 120},
                    "disk": {"enabled": True, "path": "/var/cache/sibyl", "max_size_gb": 2.0, "ttl": 3600},
                    "cache_embeddings": True,
                    "cache_retrievals": True,
                    "semantic": {
                        "enabled": True,
                        "similarity_threshold": 0.9,
                        "embedding_model": "all-MiniLM-L6-v2",
                        "max_entries": 100,
                        "ttl": 60,
                    },
                }
            }
        },
    },
    "pipelines": {
        "search": {
            "shop": "rag",
            "description": "Find and answer.",
            "timeout_s": 20,
            "parameters": {"language": {"type": "string", "default": "en"}},
            "steps": [
                {
                    "use": "retrieval",
                    "config": {
                        "subtechnique": "mmr",
                        "mmr_lambda": 0.7,
                        "mmr_candidates": 200,
                        "adaptive_k": True,
                        "min_k": 1,
                        "max_context_tokens": 4000,
                        "top_k": "${top_k}",
                        "filters": {"language": "${language}"},
                        "provider": "main",
                    },
                    "timeout_s": 5,
                    "on_error": "continue",
                },
                {"use": "infrastructure.query_classifier", "config": {"complexity_threshold": 0.6}},
                {
                    "use": "ai_generation.generation",
                    "name": "answer",
                    "always": True,
                    "condition": "${retrieval.count} > 0 and ${language} == 'en'",
                    "config": {
                        "subtechnique": "standard",
                        "provider": "{% if complexity < 0.6 %}plain{% else %}primary{% endif %}",
                        "fallback_providers": ["plain"],
                        "max_tokens": 400,
                        "temperature": 0.1,
                        "stop_sequences": ["\n\n"],
                        "prompt": "In ${language}: {context} {query}",
                        "system_prompt": "Be brief.",
                    },
                },
            ],
        },
        "beside": {
            "parameters": {"query": {"type": "string"}},
            "steps": [
                {
                    "parallel": {
                        "steps": [
                            {"use": "rag.retrieval", "config": {"top_k": 3}, "timeout_s": 1, "on_error": "continue"},
                            {"use": "rag.search", "name": "again", "condition": "'${query}' != ''", "always": True},
                        ],
                        "gather": "both",
                        "fail_fast": False,
                        "timeout_s": 2,
                    }
                },
            ],
        },
        "tell": {
            "parameters": {"query": {"type": "string"}},
            "steps": [
                {"use": "rag.retrieval"},
                {"use": "ai_generation.generation", "config": {"subtechnique": "streaming", "chunk_size": 10}},
            ],
        },
        "extract": {
            "parameters": {"query": {"type": "string"}},
            "steps": [
                {"use": "rag.retrieval"},
                {
                    "use": "ai_generation.generation",
                    "config": {"subtechnique": "structured", "provider": "primary", "answer_schema": ANSWER_SCHEMA},
                },
            ],
        },
        "rows": {
            "steps": [
                {
                    "use": "data.load_documents",
                    "config": {
                        "dsn": "postgresql://reader@db/docs",
                        "query": "SELECT id, text FROM articles",
                        "query_timeout": 30,
                        "source": "articles",
                    },
                },
                {"use": "rag.chunking"},
                {"use": "rag.embedding"},
                {"use": "data.store_vectors"},
            ]
        },
        "load": {
            "steps": [
                {
                    "use": "data.load_documents",
                    "config": {
                        "path": "docs",
                        "pattern": "**/*.md",
                        "streaming": True,
                        "chunk_size": 10,
                        "max_file_size": 1000000,
                        "encoding": "latin-1",
                        "source": "handbook",
                        "id_field": "key",
                        "text_field": "body",
                        "title_field": "head",
                    },
                },
                {
                    "use": "rag.chunking",
                    "config": {
                        "subtechnique": "semantic",
                        "chunk_overlap": 20,
                        "breakpoint_percentile": 85,
                        "batch_size": 50,
                    },
                },
                {
                    "use": "rag.embedding",
                    "config": {
                        "subtechnique": "batch",
                        "batch_size": 16,
                        "provider": "default",
                        "workers": 2,
                        "max_concurrent": 4,
                        "clear_cache_after_batch": True,
                    },
                },
                {"use": "data.store_vectors", "config": {"provider": "main"}},
            ]
        },
    },
    "mcp": {
        "enabled": True,
        "transport": "http",
        "host": "127.0.0.1",
        "port": 8100,
        "server": {"name": "handbook", "version": "3", "description": "The handbook."},
        "transport_security": {
            "dns_rebinding_protection": True,
            "allowed_origins": ["https://app.example.com"],
            "allowed_hosts": ["docs.example.com", "*.team.svc"],
        },
        "timeout": 25,
        "max_request_size": 1048576,
        "max_concurrent_requests": 16,
        "ingestion": False,
        "page": False,
        "authentication": {
            "type": "api_key",
            "header": "X-API-Key",
            "keys": ["${API_KEY:-local}"],
            "keys_file": "/etc/sibyl-keys/keys",
            "key_metadata": {
                "${API_KEY:-local}": {
                    "name": "local",
                    "permissions": ["search_*"],
                    "rate_limit": {"requests_per_minute": 600, "burst": 60},
                }
            },
        },
        "rate_limiting": {
            "enabled": True,
            "algorithm": "token_bucket",
            "requests_per_minute": 120,
            "burst": 20,
            "by_api_key": True,
            "by_ip": True,
            "trusted_proxies": ["10.0.0.0/8"],
            "storage": "redis",
            "redis_url": "${REDIS_URL:-redis://localhost:6379/1}",
        },
        "compression": {"enabled": True, "algorithm": "gzip", "min_size": 1024},
        "cdn": {"enabled": True, "provider": "cloudflare", "cache_static": True},
        "cors": {
            "enabled": True,
            "allow_origins": ["https://app.example.com"],
            "allow_methods": ["POST"],
            "allow_headers": ["Content-Type"],
            "allow_credentials": True,
            "max_age": 60,
        },
        "tools": [
            {
                "name": "search_documents",
                "description": "Ask the handbook.",
                "pipeline": "search",
                "version": "2.0.0",
                "category": "search",
                "tags": ["rag"],
                "rate_limit": {"requests_per_minute": 60, "burst": 5},
                "defaults": {"top_k": 5},
                "parameters": {
                    "query": {
                        "type": "string",
                        "description": "The question.",
                        "required": True,
                        "minLength": 2,
                        "maxLength": 500,
                        "pattern": "\\w",
                    },
                    "top_k": {"type": "integer", "minimum": 1, "maximum": 50},
                    "language": {"type": "string", "enum": ["en", "de"]},
                },
            }
        ],
    },
    "observability": {
        "kpis": [
            {"name": "p95_latency", "metric": "sibyl_mcp_tool_duration_seconds", "target": 2.0, "percentile": 0.95},
            {"name": "availability", "threshold": 0.999, "window": "30d"},
        ],
        "logging": {"level": "info", "format": "json"},
        "metrics": {"enabled": True, "port": 9190},
        "tracing": {
            "enabled": True,
            "exporter": "otlp",
            "endpoint": "http://127.0.0.1:4318",
            "sampling": {"type": "probabilistic", "rate": 0.1},
            "capture_content": False,
        },
    },
}


def full() -> dict[str, Any]:
    """A copy of FULL to change."""
    return copy.deepcopy(FULL)


def at(document: Any, path: Path) -> Any:
    """The value at `path`."""
    for part in path:
        document = document[part]
    return document


def changed(document: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A copy of `document` with `value` at `path`; mappings on the way are made."""
    copied = copy.deepcopy(document)
    inner: Any = copied
    for part in path[:-1]:
        inner = inner.setdefault(part, {}) if isinstance(inner, dict) else inner[part]
    inner[path[-1]] = value
    return copied


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is neither a filled mapping nor a filled list."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


def mappings(value: Any, path: Path = ()) -> Iterator[Path]:
    """The place of every mapping."""
    if isinstance(value, dict):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from mappings(inner, (*path, key))


def problems_of(raw: dict[str, Any], **options: Any) -> list[str]:
    """Each problem of the document as `path: message`; none when it is valid."""
    return [f"{problem.path}: {problem.message}" for problem in problem_list(raw, **options)]


def problem_list(raw: dict[str, Any], **options: Any) -> tuple[Problem, ...]:
    """The problems of the document; none when it is valid."""
    try:
        parse_workspace(raw, **options)
    except WorkspaceInvalid as error:
        return error.problems
    return ()


def valid(raw: dict[str, Any], **options: Any) -> Workspace:
    """The workspace, which must be valid."""
    return parse_workspace(raw, **options)
