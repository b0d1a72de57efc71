"""Loading, through the ingest pipeline: what becomes a document, and that nothing is left out silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from sibyl_runtime.errors import IngestError
from sibyl_runtime.pipeline.ledger import IngestProgress
from sibyl_runtime.techniques import load_documents
from sibyl_runtime.workspace import LoadDocumentsConfig
from tests.support.parts import Parts
from tests.support.pdf import pdf


def reasons(ledger: Any) -> dict[str, str]:
    return {skipped.path: skipped.reason for skipped in ledger.skipped}


async def test_each_format_becomes_documents_with_title_text_and_metadata(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "guide.md").write_text("---\nlang: en\n---\n# Replica guide\n\nReplicas serve reads.\r\n")
    (tmp_path / "titled.md").write_text("---\ntitle: From front matter\n---\n# Heading\n\nBackups run nightly.")
    (tmp_path / "notes.txt").write_text("# not a heading\n\nCaches keep answers.")
    (tmp_path / "records.jsonl").write_text(
        json.dumps({"id": "r1", "title": "Record", "text": "Pools hold connections.", "n": 3})
    )
    ledger = await parts.ingest(tmp_path)
    assert list(ledger.present) == ["notes.txt", "r1", "sub/guide.md", "titled.md"]
    assert ledger.source == str(tmp_path)
    found = {hit.document_id: hit for hit in await parts.search("replicas", top_k=10)}
    assert {name: (hit.title, hit.heading, dict(hit.metadata)) for name, hit in found.items()} == {
        "sub/guide.md": ("Replica guide", "Replica guide", {"lang": "en"}),
        "titled.md": ("From front matter", "Heading", {}),
        "notes.txt": ("notes", "", {}),
        "r1": ("Record", "", {"n": 3}),
    }
    assert found["sub/guide.md"].content == "# Replica guide\n\nReplicas serve reads."


async def test_rows_pages_and_books_become_documents_beside_them(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,text,lang\nc1,Pools hold connections.,en\n")
    (tmp_path / "page.html").write_text("<title>Guide</title><nav>Home</nav><h2>Replicas</h2><p>They serve reads.</p>")
    (tmp_path / "book.PDF").write_bytes(pdf("Backups run nightly.", "", "Restores are tested."))
    ledger = await parts.ingest(tmp_path)
    assert list(ledger.present) == ["book.PDF#page=1", "book.PDF#page=3", "page.html", "c1"]
    assert ledger.skipped == []
    found = {hit.document_id: hit for hit in await parts.search("replicas", top_k=10)}
    assert {name: (hit.title, hit.heading, dict(hit.metadata)) for name, hit in found.items()} == {
        "book.PDF#page=1": ("book", "", {"file": "book.PDF", "page": 1, "pages": 3}),
        "book.PDF#page=3": ("book", "", {"file": "book.PDF", "page": 3, "pages": 3}),
        "page.html": ("Guide", "Replicas", {}),
        "c1": ("", "", {"lang": "en"}),
    }
    assert found["page.html"].content == "## Replicas\n\nThey serve reads."


async def test_what_cannot_be_read_is_skipped_by_name_and_reason(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("# Good\n\nText.")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "nul.txt").write_bytes(b"a\0b")
    (tmp_path / "empty.md").write_bytes(b"")
    (tmp_path / "blank.txt").write_text(" \n\n")
    (tmp_path / "only-front-matter.md").write_text("---\na: 1\n---\n")
    (tmp_path / "bad-front-matter.md").write_text("---\na: [\n---\ntext")
    (tmp_path / "records.jsonl").write_text('{"id": "r", "text": "ok"}\n{oops}\n')
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(50_000_001)  # sparse: takes no room
    parts.document = {"shops": {"data": {"config": {"max_file_size": 50_000_000}}}}
    ledger = await parts.ingest(tmp_path)
    assert ledger.stored == 2
    found = reasons(ledger)
    assert found.pop("bad-front-matter.md").startswith("its front matter is not valid YAML: ")
    assert found.pop("records.jsonl:2").startswith("not valid JSON: ")
    assert "no document was removed" in found.pop(str(tmp_path))
    assert found == {
        "latin.txt": "not valid utf-8: 0xe9 at byte 3",
        "image.png": "binary, and not valid utf-8: 0x89 at byte 0",
        "nul.txt": "binary: it holds the character NUL (position 1)",
        "empty.md": "empty",
        "blank.txt": "empty",
        "only-front-matter.md": "empty",
        "large.txt": "50,000,001 bytes, above max_file_size (50,000,000 bytes)",
    }


async def test_another_encoding_can_be_named(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Le café est chaud.".encode("latin-1"))
    parts.document = {"shops": {"data": {"config": {"encoding": "latin-1"}}}}
    await parts.ingest(tmp_path)
    (hit,) = await parts.search("coffee")
    assert hit.content == "Le café est chaud."


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
async def test_a_byte_order_mark_counts_for_more_than_the_setting(parts: Parts, tmp_path: Path, codec: str) -> None:
    (tmp_path / "marked.txt").write_bytes("Le café est chaud.".encode(codec))
    parts.document = {"shops": {"data": {"config": {"encoding": "latin-1"}}}}
    await parts.ingest(tmp_path)
    (hit,) = await parts.search("coffee")
    assert hit.content == "Le café est chaud."


def test_a_load_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf("One", "Two"))
    load = load_documents.begin_load(tmp_path, LoadDocumentsConfig())
    assert [each.document.id for each in load_documents.next_batch(load.events, 1, load.ledger)] == ["a.pdf#page=1"]
    readers = [child for child in psutil.Process().children() if "sibyl_runtime.extraction" in child.cmdline()]
    assert len(readers) == 1
    del load
    assert not readers[0].is_running()


async def test_an_encoding_that_does_not_exist_is_named(parts: Parts, tmp_path: Path) -> None:
    parts.document = {"shops": {"data": {"config": {"encoding": "utf-99"}}}}
    with pytest.raises(IngestError, match='encoding "utf-99" is not known; use for example utf-8'):
        await parts.ingest(tmp_path)


async def test_two_documents_of_one_id_keep_the_first_and_name_the_second(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "x", "text": "first"}\n{"id": "x", "text": "second"}\n')
    ledger = await parts.ingest(tmp_path)
    assert reasons(ledger) == {"a.jsonl:2": "another document of this load has the same id, x; the first one is kept"}
    assert [hit.content for hit in await parts.search("second")] == ["first"]


@pytest.mark.parametrize(
    ("files", "left_out"),
    [({}, "no file matches"), ({"a.md": ""}, r"left out: a\.md: empty")],
)
async def test_an_empty_corpus_is_an_error_and_removes_nothing(
    parts: Parts, tmp_path: Path, files: dict[str, str], left_out: str
) -> None:
    (tmp_path / "a.md").write_text("# A\n\nText.")
    await parts.ingest(tmp_path)
    (tmp_path / "a.md").unlink()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    expected = rf'no document to ingest in {tmp_path} with pattern "\*\*/\*"; {left_out}. Nothing was changed'
    with pytest.raises(IngestError, match=expected) as caught:
        await parts.ingest(tmp_path)
    assert caught.value.details["path"] == str(tmp_path)
    assert (await parts.stored()).documents == 1


async def test_no_path_is_an_error_that_says_where_to_give_one(parts: Parts) -> None:
    with pytest.raises(IngestError, match=r"no path to ingest: give one, or set `path` in the config of the step"):
        await parts.run("ingest")


async def test_the_path_of_the_step_is_used_when_a_run_gives_none(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    steps = [
        {"use": "data.load_documents", "config": {"path": str(tmp_path), "source": "mine"}},
        {"use": "rag.chunking"}, {"use": "rag.embedding"}, {"use": "data.store_vectors"},
    ]  # fmt: skip
    parts.document = {"pipelines": {"ingest": {"steps": steps}}}
    result = await parts.run("ingest")
    assert result.ledgers[0].source == "mine"
    assert parts.store.removals == [("mine", ["a.txt"])]


async def test_documents_flow_in_batches_of_chunk_size(parts: Parts, tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    parts.document = {
        "shops": {"data": {"config": {"chunk_size": 3}}, "rag": {"techniques": {"chunking": {"batch_size": 2}}}}
    }
    seen: list[IngestProgress] = []
    await parts.ingest(tmp_path, progress=seen.append)
    assert parts.store.replaced == [["0.txt", "1.txt"], ["2.txt", "3.txt"], ["4.txt", "5.txt"], ["6.txt"]]
    assert [(each.documents, each.chunks, each.total_documents) for each in seen] == [
        (2, 2, 7), (4, 4, 7), (6, 6, 7), (7, 7, 7),
    ]  # fmt: skip


async def test_a_batch_of_large_documents_is_passed_on_early(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_documents, "BATCH_CHARACTERS", 10)
    monkeypatch.setattr("sibyl_runtime.techniques.chunking.BATCH_CHARACTERS", 10)
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"more than ten characters {number}")
    await parts.ingest(tmp_path)
    assert parts.store.replaced == [["0.txt"], ["1.txt"], ["2.txt"]]


async def test_without_streaming_everything_is_loaded_before_anything_is_stored(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(f'{{"id": "{n}", "text": "text {n}"}}\n' for n in range(4)))
    totals: list[int | None] = []
    parts.document = {"shops": {"data": {"config": {"chunk_size": 2}}, "rag": {"config": {"batch_size": 2}}}}
    await parts.ingest(tmp_path, progress=lambda progress: totals.append(progress.total_documents))
    assert totals == [None, None], "how many records there are is not known before they are read"
    totals.clear()
    (tmp_path / "a.jsonl").write_text("".join(f'{{"id": "{n}", "text": "other {n}"}}\n' for n in range(4)))
    parts.document["shops"]["data"]["config"]["streaming"] = False
    await parts.ingest(tmp_path, progress=lambda progress: totals.append(progress.total_documents))
    assert totals == [4, 4]


async def test_a_pipeline_that_only_loads_still_reads_everything(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.txt").write_text("")
    steps = [{"use": "data.load_documents", "config": {"path": "${path}"}}]
    parts.document = {
        "pipelines": {"look": {"steps": steps, "parameters": {"path": {"type": "string"}}}},
    }
    result = await parts.run("look", path=str(tmp_path))
    assert result.results == {"load_documents": {"documents": 1, "count": 1}}
    assert reasons(result.ledgers[0]) == {"b.txt": "empty"}
    assert [timing.stage for timing in result.stages] == ["load"]
