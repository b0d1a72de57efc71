"""The SQL of a search, one statement whatever the strategy: one round trip.

Exact and approximate search are *differently worded*. A cached plan ignores a later `SET enable_indexscan`, so wording
is the only switch that holds:
- an approximate search orders by `embedding <=> query`, which a vector index answers;
- an exact one orders by the same distance plus 0, which no index answers;
- the filter of an approximate search reads `(metadata @> filter) IS TRUE`, which keeps the planner from sorting half
  the table through the metadata index; that of an exact search reads `metadata @> filter`, which uses it.
All choose ids first and read contents for those alone. LIMIT is part of the text: a generic plan with an unknown
limit assumes a tenth of the table.

Keyword search ranks like BM25. `ts_rank` of a single word grows with its count as n / (n + 0.65) does; each word of
the question is weighed by how rare it is in the collection, and long chunks are marked down. Ranking every chunk that
shares a word with the question would read half of the collection, for words that hardly tell chunks apart: candidates
are those that hold one of the rarest words, as many words as keep their number within a budget. If even the rarest
word is common, candidates hold all of the words. A word that has not been counted is in few chunks, or in none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from psycopg import sql

from sibyl_runtime.store.collection import Collection
from sibyl_runtime.store.records import Strategy
from sibyl_runtime.store.routing import SELECTIVE_ROWS, Route

# Cormack, Clarke and Buettcher (SIGIR 2009): flattens the difference between the first ranks of a list.
RRF_K = 60
# Each of the two lists is at least this long: a chunk far down in both may still be the best of both.
SHORTEST_LIST = 40
# Chunks that are ranked by words. On Cranfield nDCG@10 with 500 is that of ranking all; with 100 it falls below that
# of vectors alone.
CANDIDATES = 500
# Under a filter most candidates are not among its matches, so that more are needed to begin with.
FILTERED_CANDIDATES = 5_000
# Frequencies lag behind a load; this bounds the work when they are far off.
_MOST_CANDIDATES = 4 * CANDIDATES
# Words of a question, the rarest ones.
_MOST_WORDS = 32
# Share of the mark-down for length, the `b` of BM25: chunks vary less in length than documents.
_LENGTH_WEIGHT = 0.4


@dataclass(frozen=True)
class Shape:
    """What makes the text of a statement. `limit` rows come back; each list that is fused has `depth`.

    `contains` and `path` say which parts the filter has.
    """

    strategy: Strategy
    limit: int
    depth: int
    contains: bool = False
    path: bool = False
    embeddings: bool = False

    @property
    def filtered(self) -> bool:
        """Whether there is a filter."""
        return self.contains or self.path


@lru_cache(maxsize=512)
def statement(collection: Collection, route: Route, shape: Shape) -> bytes:
    """SQL with the parameters `vector`, for Route.GIVEN `found`, and where the shape asks for them `text`, `chunks`,
    `contains` and `path`."""
    lists, order = {
        "vector": ((_nearest(route, shape),), "f.place + 0"),
        "keyword": ((_worded(route, shape),), "f.score DESC"),
        "hybrid": ((_nearest(route, shape), _worded(route, shape), _FUSED), "f.score DESC"),
    }[shape.strategy]
    text = (
        "WITH " + ", ".join(lists) + " SELECT c.id, c.document_id, d.title, c.heading, c.content, {distance_of_c},"
        " c.metadata, c.tokens, " + _counts(route, shape) + (", c.embedding" if shape.embeddings else "")
        + f" FROM {_SOURCE[shape.strategy]} f JOIN {{chunks}} c ON c.id = f.id"
        f" JOIN {{documents}} d ON d.id = c.document_id AND d.source = c.source ORDER BY {order}, f.id"
    )  # fmt: skip
    operator = sql.SQL(collection.metric.operator)
    return (
        sql.SQL(text)
        .format(
            chunks=collection.chunks,
            documents=collection.documents,
            lexemes=collection.lexemes,
            frequencies=collection.frequencies,
            language=sql.SQL("{}::regconfig").format(sql.Literal(collection.text_search)),
            distance=sql.SQL("embedding {} %(vector)b").format(operator),
            distance_of_c=sql.SQL("c.embedding {} %(vector)b").format(operator),
            limit=sql.Literal(shape.limit),
            depth=sql.Literal(shape.depth),
            bound=sql.Literal(SELECTIVE_ROWS + 1),
            budget=sql.Literal(FILTERED_CANDIDATES if shape.filtered else CANDIDATES),
        )
        .as_bytes()
    )


_SOURCE = {"vector": "nearest", "keyword": "worded", "hybrid": "fused"}


def _counts(route: Route, shape: Shape) -> str:
    """`matches` and `nearest` of a Row."""
    if shape.strategy == "keyword":
        return "0::bigint, 0::bigint"
    matches = "(SELECT count(*) FROM matched)" if route is Route.SELECTIVE else "0::bigint"
    return f"{matches}, (SELECT count(*) FROM nearest)"


def _nearest(route: Route, shape: Shape) -> str:
    """Columns `id` and `place`, which is a distance."""
    if route is Route.SELECTIVE:
        return (
            f"matched AS MATERIALIZED (SELECT id, {{distance}} AS place FROM {{chunks}}{_where(shape)}"
            " LIMIT {bound}),"
            " nearest AS MATERIALIZED (SELECT id, place FROM matched ORDER BY place, id LIMIT {depth})"
        )
    if route is Route.EXACT:
        return (
            f"nearest AS MATERIALIZED (SELECT id, ({{distance}}) + 0 AS place FROM {{chunks}}{_where(shape)}"
            " ORDER BY place, id LIMIT {depth})"
        )
    if route is Route.GIVEN:
        where = _where(shape, hidden=True).replace(" WHERE ", " AND ", 1)
        return (
            "nearest AS MATERIALIZED (SELECT id, ({distance}) + 0 AS place FROM {chunks}"
            f" WHERE id = ANY(%(found)b::bigint[]){where} ORDER BY place, id LIMIT {{depth}})"
        )
    return (
        f"nearest AS MATERIALIZED (SELECT id, {{distance}} AS place FROM {{chunks}}{_where(shape, hidden=True)}"
        " ORDER BY {distance} LIMIT {depth})"
    )


def _where(shape: Shape, *, hidden: bool = False) -> str:
    """The filter. `hidden` from the planner, which would otherwise prefer the metadata index."""
    tests = [
        test
        for wanted, test in (
            (shape.contains, "metadata @> %(contains)b"),
            (shape.path, "metadata @@ %(path)b::text::jsonpath"),
        )
        if wanted
    ]
    shown = [f"({test}) IS TRUE" for test in tests] if hidden else tests
    return f" WHERE {' AND '.join(shown)}" if shown else ""


def _worded(route: Route, shape: Shape) -> str:
    """Columns `id` and `score`, higher is better."""
    among = ""
    if shape.filtered:
        # What a selective filter leaves is known by now, see _nearest.
        matches = "matched" if route is Route.SELECTIVE else f"{{chunks}}{_where(shape)}"
        among = f" AND chunk_id IN (SELECT id FROM {matches})"
    return (
        "asked AS MATERIALIZED (SELECT lexeme, coalesce(f.chunks, 1) AS chunks, f.chunks IS NOT NULL AS counted FROM"
        " unnest(to_tsvector({language}, %(text)b)) LEFT JOIN {frequencies} f USING (lexeme)"
        f" ORDER BY 2, 1 LIMIT {_MOST_WORDS}),"
        " words AS MATERIALIZED (SELECT"
        r" ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS word,"
        " ln(1 + (greatest(%(chunks)b - chunks, 0) + 0.5::float8) / (chunks + 0.5)) AS weight,"
        " counted, sum(chunks) OVER (ORDER BY chunks, lexeme) <= {budget} OR NOT counted AS rare,"
        " min(chunks) FILTER (WHERE counted) OVER () > {budget} AS common FROM asked),"
        " wanted AS MATERIALIZED (SELECT nullif(concat_ws(' | ', string_agg(word::text, ' | ') FILTER (WHERE rare),"
        " '(' || string_agg(word::text, ' & ') FILTER (WHERE counted AND common) || ')'), '')::tsquery AS query"
        " FROM words),"
        " candidates AS MATERIALIZED (SELECT chunk_id AS id, lexemes, length(lexemes) AS length FROM {lexemes}"
        f" WHERE lexemes @@ (SELECT query FROM wanted){among} LIMIT {_MOST_CANDIDATES}),"
        " worded AS MATERIALIZED (SELECT id, (SELECT sum(weight * ts_rank('{{1,1,1,1}}', lexemes, word)) FROM words)"
        f" / ({1 - _LENGTH_WEIGHT} + {_LENGTH_WEIGHT} * length"
        " / (SELECT greatest(avg(length), 1) FROM candidates)::float8) AS score"
        " FROM candidates ORDER BY score DESC, id LIMIT {depth})"
    )


_FUSED = (
    f"fused AS MATERIALIZED (SELECT id, sum(1::float8 / ({RRF_K} + rank)) AS score FROM"
    " (SELECT id, row_number() OVER (ORDER BY place + 0, id) AS rank FROM nearest"
    " UNION ALL SELECT id, row_number() OVER (ORDER BY score DESC, id) FROM worded) ranked"
    " GROUP BY id ORDER BY score DESC, id LIMIT {limit})"
)
