"""Files of records are read in bounded memory, and a file that is none of them does not fill the report."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from sibyl_runtime.techniques.documents import decoding, records
from sibyl_runtime.techniques.documents.discovery import CorpusFile
from sibyl_runtime.techniques.documents.events import LoadedDocument, Skipped
from sibyl_runtime.techniques.documents.json_lines import read_json_lines
from sibyl_runtime.techniques.documents.records import Fields

FIELDS = Fields("id", "text", "title")
MIB = 1024 * 1024

LOAD = """
import sys, tracemalloc
from pathlib import Path
from sibyl_runtime.techniques.load_documents import begin_load, next_batch
from sibyl_runtime.workspace import LoadDocumentsConfig

tracemalloc.start()
load = begin_load(Path(sys.argv[1]), LoadDocumentsConfig(max_file_size=10**9))
count = 0
while documents := next_batch(load.events, 100, load.ledger):
    count += len(documents)
assert not load.ledger.skipped, load.ledger.skipped
print(count, tracemalloc.get_traced_memory()[1])
"""
MOST = 16 * MIB
"""For a batch of documents and the ids of 46,000, which tell what is gone from the source."""


def write_json(file: BinaryIO, number: int, text: str) -> None:
    file.write(json.dumps({"id": f"record-{number}", "text": f"{number} {text}"}).encode() + b"\n")


def write_csv(file: BinaryIO, number: int, text: str) -> None:
    if number == 0:
        file.write(b"id,text\n")
    file.write(f'record-{number},"{number} {text}"\n'.encode())


def write_corpus(path: Path, size: int, write: Callable[[BinaryIO, int, str], None]) -> int:
    """A file of about `size` bytes; the number of its records."""
    text = "Ask two weeks ahead, and longer in summer. " * 100
    number = 0
    with path.open("wb") as file:
        while file.tell() < size:
            write(file, number, text)
            number += 1
    return number


@pytest.mark.parametrize(("ending", "write"), [("jsonl", write_json), ("csv", write_csv)])
def test_a_file_of_200_megabytes_is_read_in_16(
    tmp_path: Path, ending: str, write: Callable[[BinaryIO, int, str], None]
) -> None:
    path = tmp_path / f"large.{ending}"
    count = write_corpus(path, 200 * 1000 * 1000, write)
    ended = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True, check=True, timeout=100)
    read, most = map(int, ended.stdout.split())
    assert read == count
    assert most < MOST


@pytest.mark.parametrize(("encoding", "documents"), [("utf-8", 2), ("utf-16", 1)])
def test_a_line_without_end_is_not_held_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, documents: int
) -> None:
    """After it, the next line can be found only where a newline is one byte."""
    monkeypatch.setattr(decoding, "LONGEST_LINE", 100)
    path = tmp_path / "a.jsonl"
    path.write_bytes(('{"text": "one"}\n{"text": "' + "x" * 1_000 + '"}\n{"text": "three"}\n').encode(encoding))
    events = list(
        read_json_lines(CorpusFile(path, "a.jsonl"), source="s", fields=FIELDS, encoding=encoding, max_size=MIB)
    )
    assert sum(isinstance(event, LoadedDocument) for event in events) == documents
    (skipped,) = [event for event in events if isinstance(event, Skipped)]
    assert (skipped.path, skipped.may_hide) == ("a.jsonl:2" if documents == 2 else "a.jsonl", True)
    assert skipped.reason.startswith("longer than ")


def test_a_file_of_nothing_but_bad_records_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_BAD", 3)
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n' + "nonsense\n" * 10)
    events = list(
        read_json_lines(CorpusFile(path, "a.jsonl"), source="s", fields=FIELDS, encoding="utf-8", max_size=MIB)
    )
    assert [getattr(event, "path", None) for event in events] == [
        None, "a.jsonl:2", "a.jsonl:3", "a.jsonl:4", "a.jsonl:5", "a.jsonl",
    ]  # fmt: skip
    assert events[-1] == Skipped(
        "a.jsonl", "more than 3 of its records cannot be read; the others are left out", may_hide=True
    )
