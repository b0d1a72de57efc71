"""Documents that come with a request become what the same files would have become, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from sibyl_runtime.pipeline.context import Deadline, IngestLedger
from sibyl_runtime.pipeline.engine import PipelineEngine
from sibyl_runtime.techniques.receive_documents import GivenDocument, GivenDocuments, ReceiveDocuments
from tests.support.parts import Parts


def given(
    id_: str, text: str, metadata: Mapping[str, Any] | None = None, form: Literal["markdown", "text"] = "markdown"
) -> GivenDocument:
    return GivenDocument(id_, text, f"Title of {id_}", metadata or {}, form)


async def receive(parts: Parts, *documents: GivenDocument, source: str = "handbook") -> IngestLedger:
    loader = ReceiveDocuments(GivenDocuments(source, documents))
    engine = PipelineEngine(parts.services())
    result = await engine.run("ingest", {}, deadline=Deadline.after(None), instead={loader.id: loader})
    (ledger,) = result.ledgers
    return ledger


async def test_given_documents_are_stored_and_cost_nothing_the_second_time(parts: Parts) -> None:
    documents = [given("a", "# A\n\nText of a."), given("b", "Text of b.", {"team": "x"}, "text")]
    first = await receive(parts, *documents)
    assert (first.stored, first.stored_chunks, first.unchanged, first.skipped) == (2, 2, 0, [])
    again = await receive(parts, *documents)
    assert (again.stored, again.unchanged) == (0, 2)
    assert len(parts.embedder.documents) == 2, "nothing was embedded again"


async def test_what_is_not_given_is_not_removed_and_the_index_is_left_to_its_keeper(parts: Parts) -> None:
    await receive(parts, given("a", "Text of a."), given("b", "Text of b."))
    await receive(parts, given("c", "Text of c."))
    assert set(await parts.documents("a", "b", "c")) == {"a", "b", "c"}
    assert (parts.store.removals, parts.store.indexed) == ([], 0)


async def test_a_change_of_text_title_metadata_or_format_is_a_change(parts: Parts) -> None:
    text = "# A\n\nText."
    await receive(parts, given("a", text))
    for changed in (
        given("a", text + " More."),
        GivenDocument("a", text + " More.", "Another title", {}, "markdown"),
        GivenDocument("a", text + " More.", "Another title", {"team": "x"}, "markdown"),
        GivenDocument("a", text + " More.", "Another title", {"team": "x"}, "text"),
    ):
        ledger = await receive(parts, changed)
        assert (ledger.stored, ledger.replaced, ledger.unchanged) == (1, 1, 0)


LEFT_OUT: list[tuple[GivenDocument, str]] = [
    (given("a", " \n\t"), "empty"),
    (given("a", "a\0b"), "binary: it holds the character NUL (position 1)"),
    (GivenDocument("a", "A.", "\0", {}, "text"), "binary: it holds the character NUL (position 0)"),
    (given("é" * 501, "A."), "its id must have 1 to 1000 bytes, found 1002"),
    (given("a", "A.", {"team": "\0"}), "binary: it holds the character NUL (position 0)"),
    (given("a", "A.", {"n": 2**64}), "its metadata holds a whole number of more than 64 bits"),
    (given("a", "A" * 65), "65 bytes, above max_file_size (64 bytes)"),
]


@pytest.mark.parametrize(("document", "reason"), LEFT_OUT, ids=[reason[:40] for _, reason in LEFT_OUT])
async def test_a_document_that_cannot_be_stored_is_named_and_the_others_are_stored(
    parts: Parts, document: GivenDocument, reason: str
) -> None:
    loading = {"max_file_size": 64}
    parts.document = {"shops": {"data": {"techniques": {"load_documents": loading}}}}
    ledger = await receive(parts, document, given("good", "Good."))
    assert [(skipped.path, skipped.reason) for skipped in ledger.skipped] == [(document.id, reason)]
    assert ledger.stored == 1


async def test_of_two_documents_with_one_id_the_first_is_kept(parts: Parts) -> None:
    ledger = await receive(parts, given("a", "First."), given("a", "Second."))
    assert (ledger.stored, [skipped.path for skipped in ledger.skipped]) == (1, ["a"])
    assert [hit.content for hit in await parts.search("text", top_k=5)] == ["First."]


async def test_nothing_that_can_be_stored_is_no_error(parts: Parts) -> None:
    ledger = await receive(parts, given("a", " "))
    assert (ledger.stored, len(ledger.skipped)) == (0, 1)


async def test_a_file_and_the_same_text_given_are_one_document(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Title of a.md\n\nText.")
    (tmp_path / "b.txt").write_text("# No heading\n\nText.")
    await parts.ingest(tmp_path)
    text = GivenDocument("b.txt", "# No heading\n\nText.", "b", {}, "text")
    ledger = await receive(parts, given("a.md", "# Title of a.md\n\nText."), text, source=str(tmp_path))
    assert (ledger.stored, ledger.unchanged) == (0, 2)
