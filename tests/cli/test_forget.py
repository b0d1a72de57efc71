"""`sibyl forget`: the documents of one source go, and nothing else."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Command


def _two_sources(command: Command, over_database: Path, documents: Path, tmp_path: Path) -> Path:
    other = tmp_path / "other"
    other.mkdir()
    (other / "birds.md").write_text("# Birds\n\nThe albatross sleeps while it flies.\n")
    for folder in (documents, other):
        assert command("ingest", "-f", over_database, folder).code == 0
    return other


def test_a_source_is_forgotten_by_its_path_as_typed(
    command: Command, over_database: Path, documents: Path, tmp_path: Path
) -> None:
    other = _two_sources(command, over_database, documents, tmp_path)
    gone = command("forget", "-f", over_database, documents.name)
    assert (gone.code, gone.stdout) == (0, f"removed 3 documents of {documents.resolve()}\n")
    asked = command("query", "-f", over_database, "Which bird flies?", "--json").json
    assert ["albatross" in source["content"] for source in asked["output"]["sources"]] == [True]
    kept = command("forget", "-f", over_database, other, "--json").json
    assert kept == {"source": str(other), "removed": 1}


def test_an_unknown_source_is_told_with_those_that_there_are(
    command: Command, over_database: Path, documents: Path, tmp_path: Path
) -> None:
    other = _two_sources(command, over_database, documents, tmp_path)
    ended = command("forget", "-f", over_database, "/nowhere")
    assert (ended.code, ended.stdout, ended.stderr) == (
        1, "", f"sibyl: the collection has no documents from source /nowhere; its sources: {documents}, {other}\n",
    )  # fmt: skip


def test_an_empty_name_is_no_source(command: Command, over_database: Path) -> None:
    """Of an unset variable of a shell the folder would be made in which the shell is."""
    refused = command("forget", "-f", over_database, "")
    assert refused.code == 2
    assert "is empty; name the source as the ingest did" in refused.stderr
