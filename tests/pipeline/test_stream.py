"""A stream is taken once, counts what passes, and lets go of what it holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from sibyl_runtime.pipeline.ledger import IngestLedger
from sibyl_runtime.pipeline.stream import Stream


@dataclass(frozen=True)
class Batch:
    size: int


class Source:
    closed = False

    async def batches(self) -> AsyncGenerator[Batch, None]:
        try:
            for size in (3, 4):
                yield Batch(size)
        finally:
            self.closed = True


def stream(source: Source) -> Stream[Batch]:
    return Stream(source.batches(), IngestLedger("s"))


async def test_it_counts_what_passes_and_knows_its_end() -> None:
    source = Source()
    one = stream(source)
    assert (one.count, one.ended, one.taken) == (0, False, False)
    await one.drain()
    assert (one.count, one.ended, one.taken, source.closed) == (7, True, True, True)


async def test_it_feeds_one_step_only() -> None:
    one = stream(Source())
    await one.drain()
    with pytest.raises(RuntimeError, match="taken by an earlier step"):
        one.take()


async def test_closing_it_half_way_releases_what_it_holds() -> None:
    source = Source()
    one = stream(source)
    assert (await anext(one.take())).size == 3
    await one.close()
    assert source.closed
    assert not one.ended


async def test_one_that_was_never_read_can_be_closed() -> None:
    await stream(Source()).close()
