"""Opens the parts of a runtime, and says what they are."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sibyl_runtime import __version__
from sibyl_runtime.cache import (
    ANSWERS,
    Cache,
    RedisServer,
    SemanticCache,
    cache_of,
    open_disk,
    open_redis,
    semantic_cache,
)
from sibyl_runtime.errors import StartupError
from sibyl_runtime.pipeline.context import Services
from sibyl_runtime.pipeline.corpus_version import CorpusVersion
from sibyl_runtime.pipeline.kept import CHUNKS, VECTORS, Kept, KeptChunks, KeptQuestions, KeptVectors, kinds_kept
from sibyl_runtime.providers.embedding import open_embedder
from sibyl_runtime.providers.embedding.opening import open_embedding_model
from sibyl_runtime.providers.embedding.shared_queries import SharedQueries
from sibyl_runtime.providers.llm import open_language_model
from sibyl_runtime.providers.protocols import CrossEncoder, Embedder, LanguageModel
from sibyl_runtime.providers.reranking import open_cross_encoder
from sibyl_runtime.settings import Settings
from sibyl_runtime.store.opening import open_store
from sibyl_runtime.workspace import (
    EmbeddingProvider,
    SourceDocument,
    Workspace,
    cross_encoders,
    effective_hash,
    expand_environment,
    format_path,
)


async def open_services(
    workspace: Workspace, settings: Settings, stack: contextlib.AsyncExitStack
) -> tuple[Services, str]:
    """The services, and where the store is. Whatever is opened goes on `stack`. Raises StartupError."""
    name, embedding = workspace.default_embedding
    embedder = await open_embedding_model(name, embedding)
    stack.push_async_callback(embedder.close)
    rerankers: dict[str, CrossEncoder] = {}
    for reranker, use in cross_encoders(workspace).items():
        rerankers[reranker] = await open_cross_encoder(
            reranker, format_path(use.at), backend=use.backend, device=use.device
        )
        stack.push_async_callback(rerankers[reranker].close)
    models: dict[str, LanguageModel] = {}
    for each, provider in workspace.language_models.items():
        models[each] = open_language_model(each, provider)
        stack.push_async_callback(models[each].close)
    store = await open_store(
        workspace.default_vector_store[1],
        dimension=embedder.dimension,
        tag=embedder.tag,
        embedded_directory=settings.postgres_directory,
        wait=settings.database_wait,
    )
    stack.push_async_callback(store.close)
    services = Services(
        workspace=workspace,
        embedder=embedder,
        store=store,
        language_models=models,
        default_language_model=workspace.default_llm[0],
        cross_encoders=rerankers,
    )
    return services, store.location


@dataclass(frozen=True)
class OpenCaches:
    """The caches of a workspace, by the kind of what they keep, and the Redis that they share."""

    kinds: Mapping[str, Cache]
    redis: RedisServer | None


def open_caches(workspace: Workspace, settings: Settings, stack: contextlib.AsyncExitStack) -> OpenCaches:
    """The caches of the workspace; what they are on goes on `stack`. Raises StartupError."""
    caching = workspace.caching
    kinds = [*([ANSWERS] if caching.keeps_answers else []), *kinds_kept(caching)]
    if not kinds:
        return OpenCaches({}, None)
    redis = open_redis(caching)
    if redis is not None:
        stack.push_async_callback(redis.close)
    disk = open_disk(caching, settings.data_directory)
    if disk is not None:
        stack.push_async_callback(disk.close)
    opened = {kind: cache_of(caching, namespace=workspace.name, kind=kind, redis=redis, disk=disk) for kind in kinds}
    caches = {kind: cache for kind, cache in opened.items() if cache is not None}
    for cache in caches.values():
        stack.push_async_callback(cache.close)
    return OpenCaches(caches, redis)


def shared_questions(services: Services) -> Services:
    """The services, of which two may ask for the vector of one question where a semantic cache compares by it."""
    settings = services.workspace.caching.semantic_cache
    if settings is None or _compares_by_another(services.workspace, settings.embedding_model):
        return services
    return replace(services, embedder=SharedQueries(services.embedder))


def kept_of_searches(caches: Mapping[str, Cache], services: Services, identity: str, version: CorpusVersion) -> Kept:
    """What searches find in `caches`, and leave there."""
    embedder = services.embedder
    vectors, chunks = caches.get(VECTORS), caches.get(CHUNKS)
    # The tag of a remote model says neither its server's path nor what is sent along.
    made_by = f"{embedder.tag} {services.workspace.default_embedding[1].model_dump_json(exclude={'api_key'})}"
    return Kept(
        None if vectors is None else KeptVectors(vectors, made_by, embedder.dimension),
        None if chunks is None else KeptChunks(chunks, identity, embedder.tag, version),
    )


async def open_semantic(
    workspace: Workspace,
    embedder: Embedder,
    redis: RedisServer | None,
    stack: contextlib.AsyncExitStack,
    kept: KeptVectors | None = None,
) -> SemanticCache | None:
    """The semantic cache of answers; None without one. `embedder` is the workspace's own, and `kept` its vectors that
    are kept. Raises StartupError."""
    settings = workspace.caching.semantic_cache
    if settings is None:
        return None
    if kept is not None:
        embedder = KeptQuestions(embedder, kept)
    if _compares_by_another(workspace, settings.embedding_model):
        embedder = await _open_comparing_model(str(settings.embedding_model))
        stack.push_async_callback(embedder.close)
    return semantic_cache(workspace.caching, embedder, namespace=workspace.name, redis=redis)


def _compares_by_another(workspace: Workspace, model: str | None) -> bool:
    own = workspace.default_embedding[1].model
    return model not in (None, own, f"sentence-transformers/{own}")


async def _open_comparing_model(model: str) -> Embedder:
    name = "semantic"
    try:
        return await open_embedder(name, EmbeddingProvider(model=model))
    except StartupError as error:
        reason = error.message.removeprefix(f"providers.embedding.{name}.").removeprefix("model: ")
        raise StartupError(f"shops.infrastructure.config.caching.semantic.embedding_model: {reason}") from error


def described(workspace: Workspace, services: Services, location: str, caches: Mapping[str, Cache]) -> tuple[str, ...]:
    """What is open, in a few words each; no secrets."""
    model = workspace.default_llm[1]
    return (
        services.embedder.tag,
        location,
        f"answers: {model.kind} {model.model}" if model.model else f"answers: {model.kind}",
        _caches_described(caches),
        *(["semantic cache"] if workspace.caching.semantic_cache is not None else []),
        *(f"reranks: {model.tag}" for model in services.cross_encoders.values()),
    )


def _caches_described(caches: Mapping[str, Cache]) -> str:
    """What is kept, and where: every kind is kept on the same levels."""
    if not caches:
        return "cache: off"
    levels = " + ".join(next(iter(caches.values())).stats())
    return f"cache: {levels}" if list(caches) == [ANSWERS] else f"cache: {levels} ({', '.join(caches)})"


def shown_embedder(services: Services) -> str:
    """The embedding model as clients may see it: of one that a server runs, not the server's host."""
    embedder, provider = services.embedder, services.workspace.default_embedding[1]
    return embedder.tag if provider.kind == "sentence-transformer" else f"{provider.model}/{embedder.dimension}"


def local_models(services: Services) -> str:
    """The tags of the models on this machine that an answer depends on."""
    return " ".join([services.embedder.tag, *sorted(model.tag for model in services.cross_encoders.values())])


def identity_of(source: SourceDocument, environ: Mapping[str, str], settings: Settings, workspace: Workspace) -> str:
    """Tells apart two runtimes that share a cache: by the whole document, with the environment in place.

    Two deployments of one document may differ in nothing but what ${DATABASE_URL} stands for. Secrets count too: by
    their names, the `customer_key` of a filter would be one, and it decides what is found.
    """
    expanded = expand_environment(source.raw, environ)
    embedded = workspace.default_vector_store[1].dsn is None
    place = str(settings.postgres_directory.resolve()) if embedded else None
    return effective_hash({"version": __version__, "document": expanded, "embedded": place})
