"""The yardstick: the least that answers a question with five chunks, to which the product is compared.

FastAPI, one thread that runs the model, a psycopg pool of eight, halfvec in an HNSW index. No validation, no
authentication, no metrics, no deadlines, no limits. The model's graph, its session and the threads of that are the
product's own: what is compared is everything around them.

Usage: python -m bench.bare_server DSN TABLE GRAPH TOKENIZER; prints its port.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from pgvector import HalfVector
from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from sibyl_runtime.providers.embedding.cpu import cpu_quota, encoder_threads, usable_cores
from sibyl_runtime.providers.embedding.onnx_session import OnnxEncoder
from sibyl_runtime.providers.embedding.tokenizer import Tokenizer

CHUNKS = 5
CONNECTIONS = 8


def application(dsn: str, table: str, graph: Path, tokenizer_file: Path) -> FastAPI:
    """POST /search {"query": ...} answers {"sources": [...]}."""
    model = ThreadPoolExecutor(1)
    encoder = OnnxEncoder(graph, encoder_threads(cpu_quota(), usable_cores()))
    tokenizer = Tokenizer.load(tokenizer_file)
    pool = AsyncConnectionPool(
        dsn, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, configure=configured, kwargs={"autocommit": True}
    )
    statement = (
        "SELECT title, document_id, heading, content, 1 - (embedding <=> %(vector)b) "
        f"FROM {table} ORDER BY embedding <=> %(vector)b LIMIT {CHUNKS}"
    ).encode()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with pool:
            await pool.wait()
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/search")
    async def search(request: Request) -> Response:
        ids = tokenizer.ids(orjson.loads(await request.body())["query"])
        vectors = await asyncio.get_running_loop().run_in_executor(model, encoder.encode, [ids])
        async with pool.connection() as connection:
            cursor = await connection.execute(statement, {"vector": HalfVector(vectors[0])}, prepare=True, binary=True)
            rows = await cursor.fetchall()
        sources = [dict(zip(("title", "document", "heading", "text", "score"), row, strict=True)) for row in rows]
        return Response(orjson.dumps({"sources": sources}), media_type="application/json")

    return app


async def configured(connection: AsyncConnection[Any]) -> None:
    """Teach a new connection the vector types."""
    await register_vector_async(connection)


def main(arguments: list[str]) -> None:
    """Serve on a free port of 127.0.0.1 until a signal."""
    dsn, table, graph, tokenizer = arguments
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(
            application(dsn, table, Path(graph), Path(tokenizer)), log_level="warning", access_log=False
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1:])
