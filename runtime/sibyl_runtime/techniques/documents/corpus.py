"""Reads the files of a corpus one after the other, by format. Synchronous: it runs off the event loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from sibyl_runtime.extraction import Extractor
from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques.documents.decoding import check_id, read_text
from sibyl_runtime.techniques.documents.delimited import read_delimited
from sibyl_runtime.techniques.documents.discovery import Corpus, CorpusFile
from sibyl_runtime.techniques.documents.events import Event, LoadedDocument, Skipped, Unreadable
from sibyl_runtime.techniques.documents.extracted import read_html, read_pdf
from sibyl_runtime.techniques.documents.json_lines import read_json_lines
from sibyl_runtime.techniques.documents.markdown import first_heading, split_front_matter
from sibyl_runtime.techniques.documents.records import Fields
from sibyl_runtime.workspace import LoadDocumentsConfig

MARKDOWN = frozenset({".md", ".markdown", ".mdx"})
HTML = frozenset({".html", ".htm", ".xhtml"})
PDF = frozenset({".pdf"})
RECORDS = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".csv": read_delimited,
    ".tsv": read_delimited,
}


def is_one_document(file: CorpusFile) -> bool:
    """False for a file of many documents: how many is not known before it is read."""
    return _ending(file) not in PDF and _ending(file) not in RECORDS


def read_corpus(corpus: Corpus, config: LoadDocumentsConfig, *, source: str, encoding: str) -> Iterator[Event]:
    """Every document of `corpus`, and everything that had to be left out, in the order of the file names."""
    yield from corpus.skipped
    fields = Fields(config.id_field, config.text_field, config.title_field)
    most = config.max_file_size
    with Extractor() as extractor:
        for file in corpus.files:
            ending = _ending(file)
            if ending in RECORDS:
                yield from RECORDS[ending](file, source=source, fields=fields, encoding=encoding, max_size=most)
            elif ending in PDF:
                yield from read_pdf(file, extractor, source=source, max_size=most)
            elif ending in HTML:
                yield read_html(file, extractor, source=source, encoding=encoding, max_size=most)
            else:
                yield _read_one(file, source=source, encoding=encoding, max_size=most)


def _ending(file: CorpusFile) -> str:
    return PurePosixPath(file.name).suffix.lower()


def _read_one(file: CorpusFile, *, source: str, encoding: str, max_size: int) -> Event:
    markdown = _ending(file) in MARKDOWN
    try:
        check_id(file.name)
        text = read_text(file.path, max_size=max_size, encoding=encoding)
        metadata, text = split_front_matter(text) if markdown else ({}, text)
        if not text.strip():
            raise Unreadable("empty")
    except Unreadable as error:
        return Skipped(file.name, str(error), document_id=file.name)
    title = _title(metadata.pop("title", None), text, file.name) if markdown else PurePosixPath(file.name).stem
    return LoadedDocument(Document(file.name, source, title, text, metadata), markdown)


def _title(written: object, text: str, name: str) -> str:
    """The front matter's title, else the first heading, else the name of the file."""
    if written not in (None, ""):
        return " ".join(str(written).split())
    return first_heading(text) or PurePosixPath(name).stem
