"""What a search need not work out again: the vectors of questions, and the chunks that were found for one.

What lies in a cache is not trusted: an entry that does not read as what it should be is one that is not there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from sibyl_runtime.cache import Cache
from sibyl_runtime.errors import SibylError
from sibyl_runtime.pipeline.corpus_version import CorpusVersion
from sibyl_runtime.providers.embedding.passing import PassingEmbedder
from sibyl_runtime.providers.protocols import Embedder, Vectors
from sibyl_runtime.store.records import Hit
from sibyl_runtime.workspace import Caching

VECTORS: Final = "embedding"
CHUNKS: Final = "retrieval"
_NUMBERS: Final = np.dtype("<f4")
_FIELDS: Final = (
    ("chunk_id", int),
    ("document_id", str),
    ("title", str),
    ("heading", str),
    ("content", str),
    ("score", float),
    ("metadata", dict),
    ("tokens", int),
)


def kinds_kept(caching: Caching) -> list[str]:
    """The kinds of entries that a workspace keeps of its searches."""
    kept = {VECTORS: caching.keeps_embeddings, CHUNKS: caching.keeps_retrievals}
    return [kind for kind, keeps in kept.items() if keeps]


@dataclass(frozen=True)
class KeptVectors:
    """Vectors by the text that they were made of. `embedder` says all that they depend on beside it, `dimension` is
    their length."""

    cache: Cache
    embedder: str
    dimension: int

    async def get(self, text: str, *, passage: bool) -> Vectors | None:
        """Shape (dimension,), or None. A `passage` is embedded as a document is."""
        kept = await self.cache.get(self._key(text, passage=passage))
        if kept is None or len(kept) != self.dimension * _NUMBERS.itemsize:
            return None
        vector: Vectors = np.frombuffer(kept, _NUMBERS).astype(np.float32)
        return vector if bool(np.isfinite(vector).all()) else None

    async def set(self, text: str, vector: Vectors, *, passage: bool) -> None:
        """Keep the vector of `text`, shape (dimension,)."""
        await self.cache.set(self._key(text, passage=passage), vector.astype(_NUMBERS).tobytes())

    def _key(self, text: str, *, passage: bool) -> str:
        return _digest([self.embedder, passage, text])


class KeptQuestions(PassingEmbedder):
    """An embedder of questions that looks among kept vectors first. Whoever searches keeps them."""

    def __init__(self, inner: Embedder, kept: KeptVectors) -> None:
        super().__init__(inner)
        self._kept = kept

    async def embed_query(self, text: str) -> Vectors:
        """See Embedder."""
        vector = await self._kept.get(text, passage=False)
        return await self._inner.embed_query(text) if vector is None else vector


@dataclass(frozen=True)
class KeptChunks:
    """Chunks by the search that found them and the version of the corpus: an ingest leaves the old ones behind.

    `identity` tells apart runtimes that share a cache, and is of the document; `embedder` is the tag of the model.
    """

    cache: Cache
    identity: str
    embedder: str
    version: CorpusVersion

    async def key(self, search: Mapping[str, Any]) -> str | None:
        """The key of a search now; None while the version of the corpus cannot be read.

        `search` is JSON: all that decides what is found. To be asked before searching: what is found after a change of
        the corpus may lie under the version before it, and is never asked for again.
        """
        try:
            version = await self.version.current()
        except SibylError:
            return None
        return _digest([self.identity, self.embedder, version, search])

    async def get(self, key: str) -> list[Hit] | None:
        """The chunks that were found, or None."""
        return _hits(await self.cache.get(key))

    async def set(self, key: str, hits: Sequence[Hit]) -> None:
        """Keep what was found; nothing where nothing was."""
        if not hits:
            return
        try:
            value = orjson.dumps([_plain(hit) for hit in hits])
        except TypeError:  # metadata with a number of more than 64 bits
            return
        await self.cache.set(key, value)


@dataclass(frozen=True)
class Kept:
    """What the workspace keeps of searches; None: nothing of that."""

    vectors: KeptVectors | None = None
    chunks: KeptChunks | None = None


NOTHING_KEPT: Final = Kept()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _plain(hit: Hit) -> dict[str, Any]:
    embedding = None if hit.embedding is None else [float(number) for number in hit.embedding]
    return {**{name: getattr(hit, name) for name, _ in _FIELDS}, "embedding": embedding}


def _hits(value: bytes | None) -> list[Hit] | None:
    if value is None:
        return None
    try:
        return [_hit(entry) for entry in orjson.loads(value)] or None
    except (ValueError, TypeError, KeyError):
        return None


def _hit(entry: Mapping[str, Any]) -> Hit:
    """Raises TypeError, ValueError or KeyError for what was not made by `_plain`."""
    for name, kind in _FIELDS:
        if not isinstance(entry[name], kind):
            raise TypeError(name)
    embedding = entry["embedding"]
    return Hit(
        **{name: entry[name] for name, _ in _FIELDS},
        embedding=None if embedding is None else np.array(embedding, dtype=np.float32),
    )
