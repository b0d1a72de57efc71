"""A folder is sent in portions; what is gone is removed last, and only when everything was sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.cli.sending import ranges
from tests.cli.conftest import Command
from tests.cli.scripted_service import REPORT, SETTINGS, Reply, ScriptedService, refusal, scripted_service


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with scripted_service() as running:
        yield running


def write(folder: Path, number: int, size: int = 100) -> list[str]:
    folder.mkdir(exist_ok=True)
    names = [f"{n:03}.md" for n in range(number)]
    for name in names:
        (folder / name).write_text(f"# {name}\n\n" + "x" * size)
    return names


def test_every_document_is_sent_once_and_then_what_stays(
    command: Command, service: ScriptedService, tmp_path: Path
) -> None:
    names = write(tmp_path / "docs", 30, size=4000)
    ended = command("ingest", "--server", service.url, "--source", "handbook", tmp_path / "docs", "--json")
    assert ended.code == 0, ended.stderr
    assert service.stored() == names
    assert len(service.sizes) > 3, "in portions"
    assert {body["source"] for _, body in service.received} == {"handbook"}
    assert service.pruned() == [{"source": "handbook", "keep": names}]
    assert (ended.json["documents"], ended.json["chunks"], ended.json["skipped"]) == (30, 30, [])


def test_without_a_name_the_source_is_that_of_the_pipeline_or_the_path(
    command: Command, service: ScriptedService, tmp_path: Path
) -> None:
    write(tmp_path / "docs", 1)
    command("ingest", "--server", service.url, tmp_path / "docs")
    service.settings = Reply(body={**SETTINGS, "load": {"pattern": "**/*", "source": "written"}})
    command("ingest", "--server", service.url, tmp_path / "docs")
    assert [body["source"] for body in service.pruned()] == [str((tmp_path / "docs").resolve()), "written"]


def test_files_are_read_with_the_settings_of_the_service(
    command: Command, service: ScriptedService, tmp_path: Path
) -> None:
    write(tmp_path / "docs", 2)
    (tmp_path / "docs" / "data.jsonl").write_text('{"key": "k1", "body": "Text.", "team": "x"}\n')
    load = {"pattern": "*.jsonl", "id_field": "key", "text_field": "body"}
    service.settings = Reply(body={**SETTINGS, "load": load})
    command("ingest", "--server", service.url, tmp_path / "docs")
    ((_, body), _) = service.received
    assert body["documents"] == [
        {"id": "k1", "title": "", "text": "Text.", "metadata": {"team": "x"}, "format": "markdown"}
    ]


def test_a_portion_that_a_proxy_refuses_is_halved_until_it_passes(
    command: Command, service: ScriptedService, tmp_path: Path
) -> None:
    names = write(tmp_path / "docs", 16, size=3000)
    service.most_bytes = 10_000
    ended = command("ingest", "--server", service.url, tmp_path / "docs")
    assert ended.code == 0, ended.stderr
    assert service.stored() == names
    assert max(service.sizes[-3:]) <= 10_000, "what was refused once is not tried again"


def test_a_document_that_nothing_carries_is_named_and_not_removed(
    command: Command, service: ScriptedService, tmp_path: Path
) -> None:
    write(tmp_path / "docs", 2)
    (tmp_path / "docs" / "huge.md").write_text("x" * 20_000)
    (tmp_path / "docs" / "large.md").write_text("x" * 9000)
    service.settings = Reply(body={**SETTINGS, "limits": {**SETTINGS["limits"], "bytes": 12_000}})
    service.most_bytes = 8000
    ended = command("ingest", "--server", service.url, "--source", "s", tmp_path / "docs")
    assert ended.code == 4
    huge, large = sorted(line for line in ended.stderr.splitlines() if line.startswith("skipped"))
    assert huge.startswith("skipped huge.md: 20,")
    assert huge.endswith(
        "bytes as JSON, above what a request to the service may hold (11,902 bytes, from mcp.max_request_size)"
    )
    assert large.startswith("skipped large.md: too large for the service, or for a proxy before it: http://127.0.0.1:")
    (pruned,) = service.pruned()
    assert {"huge.md", "large.md"} <= set(pruned["keep"])


def test_what_the_service_leaves_out_is_named(command: Command, service: ScriptedService, tmp_path: Path) -> None:
    write(tmp_path / "docs", 1)
    service.replies = [Reply(body={**REPORT, "skipped": [{"id": "000.md", "reason": "not today"}]})]
    ended = command("ingest", "--server", service.url, tmp_path / "docs")
    assert (ended.code, ended.stderr.splitlines()[-1]) == (4, "skipped 000.md: not today")
    assert service.pruned()[0]["keep"] == ["000.md"]


FAILURES: list[tuple[Reply, int, str]] = [
    (refusal(400, "ingest_error", "document `000.md` cannot be stored"), 1, "document `000.md` cannot be stored"),
    (refusal(500, "internal_error", "The server failed"), 3, "The server failed"),
    (refusal(504, "deadline_exceeded", "the deadline passed"), 1, "the deadline passed"),
]


@pytest.mark.parametrize(("reply", "code", "message"), FAILURES, ids=["refused", "failed", "too slow"])
def test_nothing_is_removed_when_a_document_was_not_sent(
    command: Command, service: ScriptedService, tmp_path: Path, reply: Reply, code: int, message: str
) -> None:
    write(tmp_path / "docs", 1)
    service.replies = [reply]
    ended = command("ingest", "--server", service.url, tmp_path / "docs")
    assert (ended.code, ended.stderr.splitlines()[-1]) == (code, f"sibyl: {message}")
    assert service.pruned() == []


def test_nothing_is_removed_while_something_unreadable_may_hold_documents(
    command: Command, service: ScriptedService, tmp_path: Path
) -> None:
    write(tmp_path / "docs", 1)
    (tmp_path / "docs" / "data.jsonl").write_text("{broken\n")
    ended = command("ingest", "--server", service.url, "--source", "handbook", tmp_path / "docs")
    assert ended.code == 4
    assert service.pruned() == []
    assert ended.stderr.splitlines()[-1].startswith("skipped handbook: no document was removed: ")


def test_an_empty_folder_is_an_error_and_nothing_is_sent(
    command: Command, service: ScriptedService, tmp_path: Path
) -> None:
    (tmp_path / "hollow").mkdir()
    ended = command("ingest", "--server", service.url, tmp_path / "hollow")
    assert (ended.code, service.received) == (1, [])
    assert "no document to ingest" in ended.stderr


def test_a_service_that_takes_no_documents_is_told(command: Command, service: ScriptedService, tmp_path: Path) -> None:
    write(tmp_path / "docs", 1)
    service.settings = refusal(404, "not_found", "There is nothing at /documents/settings.")
    ended = command("ingest", "--server", service.url, tmp_path / "docs")
    assert (ended.code, ended.stderr) == (
        1,
        f"sibyl: {service.url} takes no documents: There is nothing at /documents/settings. "
        "Is `mcp.ingestion` false there?\n",
    )
    service.settings = Reply(body={**SETTINGS, "load": {"novelty": 1}})
    ended = command("ingest", "--server", service.url, tmp_path / "docs")
    assert (ended.code, "use the version that runs there" in ended.stderr) == (3, True)


WRONG: list[tuple[Sequence[str], str]] = [
    (["--server", "http://h"], "give the file or directory to send"),
    (["docs"], "give one of them"),
    (["docs", "--file", "w.yaml", "--source", "s"], "is for --server"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: " ".join(value))
def test_wrong_usage_is_told_and_ends_with_2(command: Command, arguments: Sequence[str], message: str) -> None:
    ended = command("ingest", *arguments)
    assert (ended.code, message in ended.stderr) == (2, True), ended.stderr


@given(ids=st.sets(st.text(min_size=1, max_size=6), max_size=30), budget=st.integers(1, 200), probe=st.text(min_size=1))
def test_the_ranges_of_a_prune_cover_every_id_once_and_keep_all(ids: set[str], budget: int, probe: str) -> None:
    parts = list(ranges(list(ids), budget))
    assert [id_ for part in parts for id_ in part["keep"]] == sorted(ids)
    for id_ in {*ids, probe}:
        holding = [
            part
            for part in parts
            if ("after" not in part or id_ > part["after"]) and ("through" not in part or id_ <= part["through"])
        ]
        assert len(holding) == 1
        assert (id_ in holding[0]["keep"]) == (id_ in ids)
