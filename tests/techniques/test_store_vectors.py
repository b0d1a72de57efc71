"""An ingest makes the collection equal to its source, at the least cost, and stops anywhere without harm."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from sibyl_runtime.errors import DatabaseUnavailable, IngestError
from sibyl_runtime.providers.embedding import LocalEmbedder
from tests.support.parts import Parts, open_parts_store


def write(directory: Path, *numbers: int, text: str = "The text of document {n}.") -> None:
    for n in numbers:
        (directory / f"{n:02}.md").write_text(f"# Document {n}\n\n" + text.format(n=n))


async def test_an_unchanged_document_costs_nothing(parts: Parts, tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    first = await parts.ingest(tmp_path)
    assert (first.stored, first.unchanged, first.replaced, first.removed) == (3, 0, 0, 0)
    assert len(parts.embedder.documents) == 3
    version = (await parts.stored()).corpus_version
    again = await parts.ingest(tmp_path)
    assert (again.stored, again.unchanged) == (0, 3)
    assert len(parts.embedder.documents) == 3, "nothing was embedded"
    assert len(parts.store.replaced) == 1, "nothing was written"
    assert (await parts.stored()).corpus_version == version, "kept answers stay valid"


async def test_a_changed_document_replaces_its_chunks(parts: Parts, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    (tmp_path / "01.md").write_text("# One\n\nOld text.\n\n# Two\n\nOld text, too.")
    await parts.ingest(tmp_path)
    assert (await parts.stored()).chunks == 3
    (tmp_path / "01.md").write_text("# One\n\nNew text.")
    ledger = await parts.ingest(tmp_path)
    assert (ledger.stored, ledger.replaced, ledger.unchanged) == (1, 1, 1)
    assert parts.embedder.documents[-1] == "# One\n\nNew text."
    assert sorted(hit.content for hit in await parts.search("text", top_k=10)) == [
        "# Document 2\n\nThe text of document 2.",
        "# One\n\nNew text.",
    ]


async def test_a_removed_document_disappears(parts: Parts, tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    await parts.ingest(tmp_path)
    (tmp_path / "02.md").unlink()
    ledger = await parts.ingest(tmp_path)
    assert (ledger.stored, ledger.unchanged, ledger.removed) == (0, 2, 1)
    assert set(await parts.documents("01.md", "02.md", "03.md")) == {"01.md", "03.md"}


async def test_a_load_removes_only_what_it_owns(parts: Parts, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(f"text {name}")
        await parts.ingest(tmp_path / name)
    assert set(await parts.documents("one.txt", "two.txt")) == {"one.txt", "two.txt"}


async def test_two_folders_with_the_same_paths_inside_keep_their_own_documents(parts: Parts, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, animal in ((one, "falcon"), (two, "heron")):
        folder.mkdir()
        (folder / "readme.md").write_text(f"# Readme\n\nThe {animal} lives here.")
        (folder / "licence.txt").write_text("Everything is allowed.")
    assert (await parts.ingest(one)).copies == {}
    second = await parts.ingest(two)
    assert (second.stored, second.replaced, second.copies) == (2, 0, {str(one): 1})
    assert {"falcon", "heron"} <= {word for hit in await parts.search("bird", top_k=9) for word in hit.content.split()}
    (two / "licence.txt").unlink()
    assert (await parts.ingest(two)).removed == 1
    again = await parts.ingest(one)
    assert (again.stored, again.unchanged, again.removed, again.copies) == (0, 2, 0, {})


async def test_a_load_that_names_the_source_of_another_takes_its_documents_over(parts: Parts, tmp_path: Path) -> None:
    """A corpus that has moved: removing works from its new place, and nothing is left of the old one."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    write(old, 1, 2)
    parts.document = {"shops": {"data": {"config": {"source": "handbook"}}}}
    await parts.ingest(old)
    old.rename(new)
    moved = await parts.ingest(new)
    assert (moved.unchanged, moved.copies) == (2, {})
    (new / "02.md").unlink()
    assert (await parts.ingest(new)).removed == 1


async def test_a_file_that_cannot_be_read_now_keeps_what_is_stored_of_it(parts: Parts, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    await parts.ingest(tmp_path)
    (tmp_path / "02.md").write_bytes(b"\xff\xfe\0broken")
    ledger = await parts.ingest(tmp_path)
    assert (ledger.removed, [skipped.path for skipped in ledger.skipped]) == (0, ["02.md"])
    assert "02.md" in await parts.documents("02.md")


async def test_nothing_is_removed_while_something_unreadable_may_hold_documents(parts: Parts, tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    records.write_text('{"id": "a", "text": "text a"}\n{"id": "b", "text": "text b"}\n')
    await parts.ingest(tmp_path)
    records.write_text('{"id": "a", "text": "text a"}\n{"id": "b", "text": \n')
    ledger = await parts.ingest(tmp_path)
    assert ledger.removed == 0
    assert ledger.skipped[-1].path == str(tmp_path)
    assert ledger.skipped[-1].reason == (
        "no document was removed: what is missing cannot be told while 1 of the things left out above may hold "
        "documents; put them right and ingest again"
    )
    records.write_text('{"id": "a", "text": "text a"}\n')
    assert (await parts.ingest(tmp_path)).removed == 1


async def test_a_record_that_is_bad_but_named_keeps_what_is_stored_of_it(parts: Parts, tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    records.write_text("".join(f'{{"id": "{name}", "text": "text {name}"}}\n' for name in "abc"))
    await parts.ingest(tmp_path)
    records.write_text('{"id": "a", "text": "text a"}\n{"id": "b", "text": 5}\n')
    ledger = await parts.ingest(tmp_path)
    assert ledger.removed == 1
    assert set(await parts.documents("a", "b", "c")) == {"a", "b"}


async def test_the_index_is_seen_to_after_every_load(parts: Parts, tmp_path: Path) -> None:
    write(tmp_path, 1)
    await parts.ingest(tmp_path)
    assert parts.store.indexed == 1


async def test_a_failing_run_removes_nothing(parts: Parts, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    await parts.ingest(tmp_path)
    (tmp_path / "01.md").unlink()
    write(tmp_path, 3)

    async def fail() -> None:
        raise IngestError("the model is gone")

    parts.embedder.before = fail
    with pytest.raises(IngestError, match="the model is gone"):
        await parts.ingest(tmp_path)
    assert set(await parts.documents("01.md", "02.md", "03.md")) == {"01.md", "02.md"}


async def test_a_database_that_goes_away_leaves_whole_documents_and_a_rerun_completes(
    parts: Parts, tmp_path: Path
) -> None:
    write(tmp_path, *range(6))
    parts.document = {"shops": {"rag": {"techniques": {"chunking": {"batch_size": 2}}}}}
    calls = 0

    async def gone() -> None:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise DatabaseUnavailable("the database went away", retry_after=1)

    parts.store.before = gone
    with pytest.raises(DatabaseUnavailable, match="went away"):
        await parts.ingest(tmp_path)
    assert (await parts.stored()).documents == 4
    calls = -100
    ledger = await parts.ingest(tmp_path)
    assert (ledger.stored, ledger.unchanged) == (2, 4)


@pytest.mark.parametrize("stop_at", range(1, 15))
async def test_an_ingest_that_is_cancelled_anywhere_leaves_whole_documents_and_a_rerun_completes(
    parts: Parts, embedder: LocalEmbedder, tmp_path: Path, stop_at: int
) -> None:
    paragraphs = "\n\n".join(f"Paragraph {number} of document {{n}} says a little." for number in range(12))
    write(tmp_path, *range(8), text=paragraphs)
    parts.document = {
        "shops": {
            "rag": {"config": {"chunk_size": 48, "chunk_overlap": 8}, "techniques": {"chunking": {"batch_size": 2}}}
        }
    }
    source = random.Random(stop_at)
    reached = 0  # four batches with three calls each to the store and the model, then two more

    async def maybe_stop() -> None:
        nonlocal reached
        reached += 1
        if reached == stop_at:
            task.cancel()
        if source.random() < 0.5:
            await asyncio.sleep(0)

    parts.store.before = parts.embedder.before = maybe_stop
    task = asyncio.create_task(parts.ingest(tmp_path))
    with pytest.raises(asyncio.CancelledError):
        await task
    other = await open_parts_store(embedder, parts.dsn)
    try:
        stored = (await other.counts()).documents
        kept = await other.fingerprints([f"{n:02}.md" for n in range(8)])
        assert len(kept) == stored
        reached = -1000
        ledger = await parts.ingest(tmp_path)
        assert (ledger.stored, ledger.unchanged) == (8 - stored, stored)
        counts = await other.counts()
    finally:
        await other.close()
    fresh = parts.embedder.documents
    assert counts.documents == 8
    per_document = len({text for text in fresh if "document 3 says" in text})
    assert counts.chunks == 8 * per_document, "every document has all of its chunks, once"
