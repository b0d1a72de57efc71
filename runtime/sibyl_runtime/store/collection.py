"""Names and measures of one collection: its tables, and what its distance metric means in pgvector's terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql


@dataclass(frozen=True)
class DistanceMetric:
    """`operator` gives a distance, lower is nearer; `score` turns it into a similarity, higher is nearer."""

    name: str
    operator: LiteralString
    operator_class: str
    score: Callable[[float], float]


def _inverse(distance: float) -> float:
    return 1.0 / (1.0 + distance)


DISTANCE_METRICS = {
    metric.name: metric
    for metric in (
        # Cosine similarity, -1 to 1.
        DistanceMetric("cosine", "<=>", "halfvec_cosine_ops", lambda distance: 1.0 - distance),
        # 1 / (1 + distance): 1 for the same vector, towards 0 with distance.
        DistanceMetric("euclidean", "<->", "halfvec_l2_ops", _inverse),
        # The inner product itself; pgvector's operator gives its negative.
        DistanceMetric("dot_product", "<#>", "halfvec_ip_ops", lambda distance: -distance),
    )
}


@dataclass(frozen=True)
class Collection:
    """What makes a collection: vectors of another `dimension` or `tag` never join it."""

    name: str
    dimension: int
    tag: str
    metric: DistanceMetric
    text_search: str = "english"
    """The text search configuration of PostgreSQL that reads the chunks and the questions."""

    @property
    def documents(self) -> sql.Identifier:
        """Table of documents."""
        return sql.Identifier(f"{self.name}_documents")

    @property
    def chunks(self) -> sql.Identifier:
        """Table of chunks."""
        return sql.Identifier(f"{self.name}_chunks")

    @property
    def lexemes(self) -> sql.Identifier:
        """Table of the chunks' words, as full text search reads them."""
        return sql.Identifier(f"{self.name}_lexemes")

    @property
    def frequencies(self) -> sql.Identifier:
        """Table of words, and of how many chunks hold each."""
        return sql.Identifier(f"{self.name}_frequencies")

    @property
    def index_prefix(self) -> str:
        """Vector indexes that this module owns are named so; others are left alone. At most 63 bytes in all."""
        return f"{self.name}_embedding_"

    @property
    def vector_bytes(self) -> int:
        """Size of one halfvec."""
        return 2 * self.dimension + 8


def is_finite(distance: float) -> bool:
    """False for the NaN that a zero vector has as its cosine distance."""
    return math.isfinite(distance)
