"""What the guide says of loading, chunking and embedding, run as an ingest with the real model and PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import re
from pathlib import Path
from typing import Any

import psutil
import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding import memory, worker
from sibyl_runtime.providers.protocols import BulkSettings
from tests.guide.running import Place, Watch, block, with_guide
from tests.guide.table import Row, shows, told_by
from tests.support.parts import nothing
from tests.support.tiny_model import HIDDEN, write_tiny_model

pytestmark = with_guide
PIPELINE = "fragment"
AT_ONCE: dict[str, Any] = {
    "data": {"techniques": {"load_documents": {"chunk_size": 1000}}},
    "rag": {"techniques": {"chunking": {"batch_size": 1000}}},
}
"""Wide batches before the step that is looked at, so that its own are seen."""


def facts(count: int) -> str:
    return " ".join(f"Fact {number} is true and has a number of its own." for number in range(count))


def small(count: int) -> dict[str, str]:
    return {f"{number:04}.txt": f"text number {number}" for number in range(count)}


TOO_LONG = Row(
    80,
    1,
    sets="`chunk_size` 2048, `chunk_overlap` 512",
    effect="Nothing is stored, and no text is cut off without a word. A model that reads more, behind OpenAI's API, "
    "gets such chunks.",
    refused=(
        "rag.chunking: chunk_size is 2048 tokens, but the embedding model reads at most 512 (max_tokens); "
        "set chunk_size to 512 or less, or choose another model",
    ),
)


@told_by(TOO_LONG)
async def test_chunks_that_the_model_cannot_read_whole_are_refused(place: Place) -> None:
    async with place.opened(place.document(block(80, 1))) as runtime:
        with pytest.raises(StartupError) as caught:
            await runtime.ingest(place.write({"facts.txt": facts(400)}), pipeline=PIPELINE)
        assert (caught.value.message,) == TOO_LONG.refused
        assert (await runtime.services.store.counts()).chunks == 0
    wide = {"kind": "openai", "model": "text-embedding-3-small", "base_url": place.llm.url, "api_key": "k"}
    watch = Watch()
    raw = place.document(block(80, 1), providers={"embedding": {"default": wide}})
    raw["providers"]["vector_store"]["default"]["collection_name"] = "wide"
    async with place.opened(raw, instrument=watch.on) as runtime:
        await runtime.ingest(place.write({"facts.txt": facts(400)}), pipeline=PIPELINE)
        embedder, _ = watch.seen
        longest = max(len(embedder.tokenize(text)) for text in embedder.documents)
    assert 1800 < longest <= 2048


@shows(
    80,
    part=2,
    sets="`chunk_size` 512, `chunk_overlap` 50, `batch_size` 100",
    effect="Chunks have up to 512 tokens of the model's own and never more, and at least three times as many as with "
    "128; each repeats at most 50 tokens of the one before; documents are chunked and stored 100 at a time.",
)
async def test_chunks_are_as_long_as_the_block_says_and_overlap_so_much(place: Place) -> None:
    path = place.write({"0.txt": facts(400), **small(150)})
    written = block(80, 2)
    lengths: dict[int, list[int]] = {}
    for size in (512, 128):
        watch = Watch()
        raw = place.document(written, shops={"data": AT_ONCE["data"]})
        step = next(step for step in raw["pipelines"][PIPELINE]["steps"] if step["use"] == "rag.chunking")
        assert step["config"]["chunk_size"] == 512
        step["config"]["chunk_size"] = size
        async with place.opened(raw, instrument=watch.on) as runtime:
            await runtime.ingest(path, pipeline=PIPELINE)
            embedder, store = watch.seen
            counted = {text: len(embedder.tokenize(text)) + 2 for text in embedder.documents if "Fact" in text}
            lengths[size] = sorted(counted.values())
            if size == 512:
                assert [len(batch) for batch in store.replaced] == [100, 51]
                check_overlaps(embedder, list(counted))
    assert 450 < lengths[512][-1] <= 512
    assert lengths[128][-1] <= 128
    assert lengths[512][-1] >= 3 * lengths[128][-1]


def check_overlaps(embedder: Any, texts: list[str]) -> None:
    by_start = sorted(texts, key=lambda text: numbers(text)[0])
    for before, after in itertools.pairwise(by_start):
        repeated = sorted(set(numbers(before)) & set(numbers(after)))
        assert repeated, "no overlap"
        shared = facts(400).split(".")[repeated[0] : repeated[-1] + 1]
        assert len(embedder.tokenize(".".join(shared))) <= 51


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"Fact (\d+)", text)]


@shows(
    109,
    part=1,
    sets="`model` all-mpnet-base-v2, `device` cpu",
    effect="A model that is not on the machine ends the start with the field named, as models are never downloaded. "
    "Under that name on `SIBYL_MODEL_PATH`, a model is opened on the processor and makes the vectors of the "
    "collection.",
)
async def test_a_slower_model_is_used_where_it_is_there_and_named_where_it_is_not(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = place.document(block(109, 1))
    monkeypatch.setenv("SIBYL_MODEL_PATH", str(tmp_path / "models"))
    with pytest.raises(StartupError, match=r"^providers\.embedding\.default\.model: .*all-mpnet-base-v2"):
        async with place.opened(raw):
            pass
    write_tiny_model(tmp_path / "models" / "all-mpnet-base-v2")
    async with place.opened(raw) as runtime:
        assert runtime.services.embedder.tag.startswith("all-mpnet-base-v2@")
        assert (await runtime.services.embedder.embed_documents(["w1 w2"])).shape == (1, HIDDEN)


@shows(
    128,
    sets="`batch_size` 64, `max_concurrent` 4",
    effect="Texts reach the model 64 at once, and four such batches are under way at the same time.",
)
async def test_four_batches_of_sixty_four_are_embedded_side_by_side(place: Place) -> None:
    watch = Watch()
    there = asyncio.Barrier(4)

    async def meet() -> None:
        await there.wait()  # one batch after the other, the first would wait for ever

    async with place.opened(place.document(block(128), shops=AT_ONCE), instrument=watch.on) as runtime:
        embedder, _ = watch.seen
        embedder.before = meet
        async with asyncio.timeout(60):
            await runtime.ingest(place.write(small(256)), pipeline=PIPELINE)
        embedder.before = nothing
        assert embedder.calls == [64] * 4
        assert embedder.bulks == [BulkSettings(4, 0, False)]


@shows(
    481,
    sets="`workers` 4, `batch_size` 32",
    effect="Four processes, each with a model of its own, embed 32 texts at once; they end with the ingest.",
)
async def test_four_processes_embed(place: Place) -> None:
    watch = Watch()
    this = psutil.Process()
    seen: list[set[psutil.Process]] = []

    async def look() -> None:
        seen.append({child for child in this.children() if child not in before})

    async with place.opened(place.document(block(481), shops=AT_ONCE), instrument=watch.on) as runtime:
        embedder, _ = watch.seen
        before = set(this.children())
        embedder.before = look
        await runtime.ingest(place.write(small(130)), pipeline=PIPELINE)
        assert sorted(embedder.calls) == [2, 32, 32, 32, 32]
        assert embedder.bulks == [BulkSettings(4, 4, False)]
        assert len(seen[-1]) == 4
        assert not any(process.is_running() for process in seen[-1])
        assert (await runtime.services.store.counts()).documents == 130


@shows(
    498,
    sets="`batch_size` 100 of chunking, `batch_size` 32 and `clear_cache_after_batch` of embedding",
    effect="Documents are held 100 at a time, texts 32 at a time, and after each of these memory that nothing uses "
    "goes back to the system.",
)
async def test_batches_are_bounded_and_memory_is_handed_back_after_each(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[bool] = []

    def counted() -> bool:
        freed.append(memory.free_memory())
        return freed[-1]

    monkeypatch.setattr(worker, "free_memory", counted)
    watch = Watch()
    raw = place.document(block(498), shops={"data": AT_ONCE["data"]})
    async with place.opened(raw, instrument=watch.on) as runtime:
        await runtime.ingest(place.write(small(130)), pipeline=PIPELINE)
        embedder, store = watch.seen
    assert [len(batch) for batch in store.replaced] == [100, 30]
    assert embedder.calls == [32, 32, 32, 4, 30]
    assert len(freed) == 5


@shows(
    511,
    sets="`streaming`, `chunk_size` 1000",
    effect="Documents are read 1,000 at a time: while the first thousand are processed the next one has not been read.",
)
async def test_a_thousand_documents_are_read_before_the_rest(place: Place) -> None:
    watch = Watch()
    folder = Path(place.write(small(1001)))
    changed: list[int] = []

    async def change_what_may_not_have_been_read() -> None:
        if not changed:
            changed.extend((999, 1000))
            for number in changed:
                (folder / f"{number:04}.txt").write_text(f"late {number}")

    async with place.opened(place.document(block(511)), instrument=watch.on) as runtime:
        embedder, store = watch.seen
        store.before = change_what_may_not_have_been_read
        report = await runtime.ingest(str(folder), pipeline=PIPELINE)
    assert report.documents == 1001
    late = [text for text in embedder.documents if "late" in text]
    assert len(late) == 1
    assert late[0].endswith("late 1000")
