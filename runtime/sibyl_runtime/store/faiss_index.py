"""One FAISS index in memory: built, changed, searched. Everything here blocks; threads are the caller's.

An index must not be searched while it changes. FAISS cannot take a vector out of an HNSW graph: removed ones stay in it
as ways to others and are kept out of what is found, until the graph is made anew.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.protocols import Vectors
from sibyl_runtime.workspace.faiss_types import EXHAUSTIVE, FaissType

Ids = npt.NDArray[np.int64]
Halves = npt.NDArray[np.float16]

# Rows that one call adds: a search waits for one such call at most.
SLICE = 256
_BYTES_A_NUMBER = {"Flat": 4, "SQ8": 1, "SQfp16": 2}
_ID_BYTES = 8
# Trained on much less than it holds, an index finds less; a graph with many removed vectors is slow.
_GROWTH = 2.0
_SHARE_REMOVED = 0.25


@dataclass(frozen=True)
class Recipe:
    """How an index is made and searched. `nprobe` and `ef_search` are the least that a search looks at."""

    type: FaissType
    metric: str
    dimension: int
    nprobe: int
    ef_construction: int
    ef_search: int

    def standing_in(self) -> Recipe:
        """The same vectors, compared one by one."""
        return Recipe(EXHAUSTIVE, self.metric, self.dimension, 0, self.ef_construction, self.ef_search)

    @property
    def parameters(self) -> dict[str, int]:
        """What the index is searched with, for people."""
        if self.type.family == "IVF":
            return {"cells": self.type.cells, "nprobe": self.nprobe}
        if self.type.family == "HNSW":
            links = {"links": self.type.links}
            return {**links, "ef_construction": self.ef_construction, "ef_search": self.ef_search}
        return {}


def load_faiss() -> ModuleType:
    """The library. Raises StartupError where it is not installed."""
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise StartupError(
            f"kind: faiss needs the FAISS library ({error}); run `pip install 'sibyl-operator[faiss]'`, use the image "
            "that carries it (spec.runtime.image in a cluster; the default image does not), or set `kind: pgvector`"
        ) from error


def one_thread() -> None:
    """For the thread that calls: OpenMP's number of threads is each thread's own, and the server needs the others."""
    load_faiss().omp_set_num_threads(1)


class FaissIndex:
    """An index over rows with ids. `len()` is the number of rows that can be found."""

    def __init__(self, recipe: Recipe) -> None:
        self._faiss = load_faiss()
        self.recipe = recipe
        self._trained_on = 0
        self._removed: set[int] = set()
        self._selector: Any = None
        self._index = self._made()

    @classmethod
    def build(cls, recipe: Recipe, ids: Ids, vectors: Halves, *, stopped: Callable[[], bool]) -> FaissIndex:
        """An index over `vectors`, shape (rows, dimension). Ends early, incomplete, once `stopped`."""
        index = cls(recipe)
        if recipe.type.trained_from:
            index._train(vectors)
        for start in range(0, len(ids), SLICE):
            if stopped():
                break
            index.add(ids[start : start + SLICE], vectors[start : start + SLICE])
        return index

    def __len__(self) -> int:
        return int(self._index.ntotal) - len(self._removed)

    @property
    def worn(self) -> bool:
        """Whether it should be made anew: it has twice the rows that it was trained on, or a quarter is removed."""
        grown = bool(self._trained_on) and len(self) >= _GROWTH * self._trained_on
        return grown or len(self._removed) > _SHARE_REMOVED * int(self._index.ntotal)

    @property
    def size_bytes(self) -> int:
        """Memory that it takes, in bytes, to a few per cent."""
        kind, rows, dimension = self.recipe.type, int(self._index.ntotal), self.recipe.dimension
        # A graph has twice the links on its lowest level, and one row in so many has further levels.
        links = 4 * (2 * kind.links + 2) + _ID_BYTES + 4 if kind.family == "HNSW" else 0
        return rows * (_BYTES_A_NUMBER[kind.storage] * dimension + _ID_BYTES + links) + 4 * dimension * kind.cells

    def add(self, ids: Ids, vectors: Halves) -> None:
        """Add rows with ids that are not there."""
        self._index.add_with_ids(self._prepared(vectors), np.ascontiguousarray(ids))

    def remove(self, ids: Ids) -> None:
        """Remove rows; ids that are not there are left out."""
        if self.recipe.type.family != "HNSW":
            self._index.remove_ids(np.ascontiguousarray(ids))
            return
        self._removed.update(ids.tolist())
        removed = np.fromiter(self._removed, dtype=np.int64, count=len(self._removed))
        self._selector = self._faiss.IDSelectorNot(self._faiss.IDSelectorBatch(removed))

    def has_removed(self, ids: Ids) -> bool:
        """Whether one of these was removed and is still a way to others: it cannot be added again."""
        return not self._removed.isdisjoint(ids.tolist())

    def search(self, vector: Vectors, count: int) -> list[int]:
        """At most `count` ids, the nearest first. `vector` has shape (dimension,)."""
        count = min(count, len(self))
        if count == 0:
            return []
        _, ids = self._index.search(self._prepared(vector.reshape(1, -1)), count, params=self._search_parameters(count))
        return [id_ for id_ in ids[0].tolist() if id_ >= 0]

    def _search_parameters(self, count: int) -> Any:
        if self.recipe.type.family == "IVF":
            return self._faiss.SearchParametersIVF(nprobe=self.recipe.nprobe)
        if self.recipe.type.family == "HNSW":
            wide = max(self.recipe.ef_search, count)
            selected = {} if self._selector is None else {"sel": self._selector}
            return self._faiss.SearchParametersHNSW(efSearch=wide, **selected)
        return None

    def _made(self) -> Any:
        kind = self.recipe.type
        measure = self._faiss.METRIC_L2 if self.recipe.metric == "euclidean" else self._faiss.METRIC_INNER_PRODUCT
        if kind.family == "IVF":
            return self._faiss.index_factory(self.recipe.dimension, kind.factory, measure)
        inner = self._faiss.index_factory(self.recipe.dimension, kind.factory, measure)
        if kind.family == "HNSW":
            inner.hnsw.efConstruction = self.recipe.ef_construction
        return self._faiss.IndexIDMap(inner)

    def _train(self, vectors: Halves) -> None:
        # FAISS takes 256 vectors a cell at most; handing over more would only copy them.
        most = max(256 * self.recipe.type.cells, 65_536)
        sample = vectors
        if len(vectors) > most:
            sample = vectors[np.random.default_rng(0).choice(len(vectors), most, replace=False)]
        self._index.train(self._prepared(sample))
        self._trained_on = len(vectors)

    def _prepared(self, vectors: npt.NDArray[Any]) -> Vectors:
        """As FAISS takes them; of unit length for `cosine`, whose order that of inner products then is."""
        prepared: Vectors = np.array(vectors, dtype=np.float32, order="C")
        if self.recipe.metric == "cosine":
            self._faiss.normalize_L2(prepared)
        return prepared
