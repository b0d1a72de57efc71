"""`sibyl ingest`: what is loaded, what is left out and why, and what an interruption leaves."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from sibyl_runtime.cli.ingest import summary
from sibyl_runtime.pipeline.context import SkippedFile
from sibyl_runtime.runtime import IngestReport
from tests.cli.conftest import Command
from tests.support.sibyl import COMMAND, environment, sibyl

IN_SMALL_BATCHES = """name: docs
pipelines:
  ingest:
    steps:
      - {use: data.load_documents, config: {path: "${path}", chunk_size: 5}}
      - {use: rag.chunking}
      - {use: rag.embedding}
      - {use: data.store_vectors}
    parameters: {path: string}
"""


def test_documents_are_loaded_once_and_cost_nothing_the_second_time(
    command: Command, over_database: Path, documents: Path
) -> None:
    first = command("ingest", "-f", over_database, documents, "--json")
    assert (first.code, first.json["documents"], first.json["chunks"], first.json["skipped"]) == (0, 3, 3, [])
    second = command("ingest", "-f", over_database, documents, "--json").json
    assert (second["documents"], second["unchanged"]) == (0, 3)


def test_what_is_left_out_is_named_with_the_reason_and_ends_with_4(
    command: Command, over_database: Path, documents: Path
) -> None:
    (documents / "latin.md").write_bytes(b"caf\xe9 au lait")
    (documents / "empty.md").write_bytes(b"")
    ended = command("ingest", "-f", over_database, documents)
    assert ended.code == 4
    assert ended.stdout.startswith("ingested 3 documents   3 chunks · ")
    assert ended.stdout.rstrip().endswith("2 skipped")
    skipped = sorted(line for line in ended.stderr.splitlines() if line.startswith("skipped"))
    assert [line.split(": ")[0] for line in skipped] == ["skipped empty.md", "skipped latin.md"]


def test_documents_that_came_from_elsewhere_too_are_told_with_the_way_out(
    command: Command, over_database: Path, documents: Path, tmp_path: Path
) -> None:
    command("ingest", "-f", over_database, documents)
    moved = tmp_path / "new place"
    documents.rename(moved)
    (moved / "bread.md").write_text("# Bread\n\nRye bread keeps for weeks.\n")
    ended = command("ingest", "-f", over_database, moved)
    assert (ended.code, ended.stderr.splitlines()[-1]) == (
        0,
        f"note: 2 documents of the same id and text came from {documents}, too, and answers may show both; if that is "
        f"the same folder under an old name, run: sibyl forget --file FILE {documents}",
    )
    assert command("ingest", "-f", over_database, moved, "--json").json["copies"] == {str(documents): 2}


@pytest.mark.parametrize("name", ["nowhere", "hollow"])
def test_nothing_to_load_is_an_error_and_not_an_empty_corpus(
    command: Command, over_database: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "hollow").mkdir()
    ended = command("ingest", "-f", over_database, tmp_path / name)
    assert (ended.code, ended.stdout) == (1, "")
    assert name in ended.stderr


REPORTS = [
    (IngestReport(41, 312, 0, 0, 0, 8.4), "ingested 41 documents   312 chunks · 8.4 s · 37 chunks/s"),
    (IngestReport(0, 0, 41, 0, 0, 0.2), "ingested 0 documents   0 chunks · 0.2 s · 41 unchanged"),
    (
        IngestReport(1, 2, 3, 1, 1, 2.0, [SkippedFile("a.md", "empty")]),
        "ingested 1 document   2 chunks · 2.0 s · 1 chunks/s · 3 unchanged · 1 replaced · 1 removed · 1 skipped",
    ),
]


@pytest.mark.parametrize(("report", "line"), REPORTS, ids=lambda value: value[:20] if isinstance(value, str) else "")
def test_the_report_in_one_line(report: IngestReport, line: str) -> None:
    assert summary(report) == line


def test_an_interruption_leaves_no_process_and_whole_documents_only(
    tmp_path: Path, workspace: Path, documents: Path
) -> None:
    workspace.write_text(IN_SMALL_BATCHES)
    for number in range(200):
        (documents / f"page-{number}.md").write_text(f"# Page {number}\n\n" + f"Sentence {number} of many. " * 20)
    process = subprocess.Popen(
        [*COMMAND, "ingest", "-f", workspace, documents], cwd=tmp_path, env=environment({}), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    children = _children_once_loading(process, tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "sibyl: interrupted"
    assert [child for child in children if child.is_running()] == []
    again = sibyl("ingest", "-f", workspace, documents, "--json", cwd=tmp_path, timeout=110).json
    assert again["unchanged"] > 0
    assert again["documents"] > 0
    assert again["documents"] + again["unchanged"] == 203
    assert again["replaced"] == 0


def _children_once_loading(process: subprocess.Popen[str], directory: Path) -> list[psutil.Process]:
    """Wait until documents have been stored; the processes that must be gone in the end."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if _stored(directory) > 0:
            return psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    raise AssertionError("no document was stored")


def _stored(directory: Path) -> int:
    """Documents in the embedded database, asked through the socket that its lock file names."""
    lock = directory / ".sibyl" / "postgres" / "lock"
    try:
        socket_directory = lock.read_text().split('"socket_directory": "')[1].split('"')[0]
        dsn = f"postgresql://sibyl@/postgres?host={socket_directory}"
        with psycopg.connect(dsn, connect_timeout=2) as connection:
            row = connection.execute("SELECT count(*) FROM documents_documents").fetchone()
    except (OSError, IndexError, psycopg.Error):
        return 0
    return int(row[0]) if row else 0
