"""Equal fingerprints mean nothing to do: so every fact that would change the stored document changes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques import fingerprint as module
from sibyl_runtime.techniques.documents.events import LoadedDocument
from sibyl_runtime.techniques.fingerprint import fingerprint
from sibyl_runtime.workspace import ChunkingConfig

DOCUMENT = Document("a.md", "/docs", "Title", "Text", {"x": 1, "y": [True]})
LOADED = LoadedDocument(DOCUMENT, markdown=True)
CONFIG = ChunkingConfig()
BEFORE = fingerprint(LOADED, CONFIG, "model")


def test_it_does_not_depend_on_id_and_source_or_on_the_order_of_metadata() -> None:
    other = replace(DOCUMENT, id="b.md", source="/other", metadata={"y": [True], "x": 1})
    assert fingerprint(LoadedDocument(other, markdown=True), CONFIG, "model") == BEFORE
    assert fingerprint(LOADED, ChunkingConfig(batch_size=7), "model") == BEFORE


@pytest.mark.parametrize(
    "changed",
    [
        replace(DOCUMENT, title="Other"),
        replace(DOCUMENT, text="Text "),
        replace(DOCUMENT, metadata={"x": 1.5, "y": [True]}),
        replace(DOCUMENT, metadata={"x": "1", "y": [True]}),
        replace(DOCUMENT, title="", text="TitleText"),
    ],
)
def test_it_depends_on_everything_in_the_document(changed: Document) -> None:
    assert fingerprint(LoadedDocument(changed, markdown=True), CONFIG, "model") != BEFORE


@pytest.mark.parametrize(
    "config", [ChunkingConfig(subtechnique="fixed"), ChunkingConfig(chunk_size=255), ChunkingConfig(chunk_overlap=0)]
)
def test_it_depends_on_how_documents_are_cut(config: ChunkingConfig) -> None:
    assert fingerprint(LOADED, config, "model") != BEFORE


def test_it_depends_on_the_percentile_of_semantic_chunking() -> None:
    made = {
        fingerprint(LOADED, ChunkingConfig(subtechnique="semantic", breakpoint_percentile=percentile), "model")
        for percentile in (80, 90, 90)
    }
    assert len(made) == 2


def test_it_depends_on_the_model_the_format_and_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fingerprint(LOADED, CONFIG, "other model") != BEFORE
    assert fingerprint(LoadedDocument(DOCUMENT, markdown=False), CONFIG, "model") != BEFORE
    monkeypatch.setattr(module, "RECIPE", module.RECIPE + 1)
    assert fingerprint(LOADED, CONFIG, "model") != BEFORE
