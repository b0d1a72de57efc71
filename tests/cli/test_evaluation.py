"""`sibyl eval`, over a workspace and over a running server, with the real model and a real PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.cli.scripted_service import Reply, refusal, scripted_service
from tests.support.sibyl import serving

QUESTIONS = (
    '{"question": "Which bird flies from pole to pole?", "relevant": ["birds.md"]}',
    '{"question": "What does a starter need?", "relevant": {"bread.md": 2}}',
    '{"question": "How many vehicles cross the river each week?", "relevant": {"bridge.md": 1, "birds.md": 0}}',
)
BY_WORDS = """
pipelines:
  search:
    steps: [{use: rag.retrieval, config: {top_k: 5, subtechnique: keyword, filters: {team: {exists: true}}}}]
    parameters: {query: {type: string}}
"""


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(QUESTIONS))
    return path


@pytest.fixture
def ingested(command: Command, over_database: Path, documents: Path) -> Path:
    assert command("ingest", "-f", over_database, documents).code == 0
    return over_database


def test_a_workspace_is_measured_and_the_report_says_how_sure_it_is(
    command: Command, ingested: Path, questions: Path
) -> None:
    ended = command("eval", questions, "-f", ingested, "-k", "3", "-k", "1")
    assert ended.code == 0, ended.stderr
    head, _, columns, *rows = ended.stdout.splitlines()
    assert head == ("3 questions   95% intervals: percentile bootstrap over questions, 10,000 resamples, seed 0")
    assert columns.split() == [str(ingested)]
    assert [row.split("  ")[0] for row in rows] == [
        "ndcg@1", "recall@1", "ndcg@3", "recall@3", "mrr", "p50 of the times", "p95 of the times",
    ]  # fmt: skip
    assert rows[0].split("  ", 1)[1].strip() == "1.0000  [1.0000, 1.0000]"


def test_a_few_questions_compare_nothing(command: Command, ingested: Path, questions: Path) -> None:
    blind = ingested.with_name("blind.yaml")
    blind.write_text(ingested.read_text() + BY_WORDS)
    ended = command("eval", questions, "-f", ingested, "--compare", blind)
    assert ended.code == 0, ended.stderr
    (ndcg,) = (line for line in ended.stdout.splitlines() if line.startswith("ndcg@10"))
    assert ndcg.endswith("-1.0000  [-1.0000, -1.0000]  too few questions to compare by: 10 are the least")
    assert "note: " in ended.stdout
    found = command("eval", questions, "-f", ingested, "--compare", blind, "--json").json
    assert [run["target"] for run in found["runs"]] == [str(ingested), str(blind)]
    assert found["differences"]["mrr"] == {
        "value": -1.0,
        "low": -1.0,
        "high": -1.0,
        "excludes_zero": True,
        "shown": False,
    }
    assert found["runs"][1]["by_question"]["mrr"] == [0.0, 0.0, 0.0]


def test_with_questions_enough_the_second_one_is_told_to_be_worse(
    command: Command, ingested: Path, questions: Path
) -> None:
    blind = ingested.with_name("blind.yaml")
    blind.write_text(ingested.read_text() + BY_WORDS)
    each = [json.loads(line) for line in questions.read_text().splitlines()]
    many = [{**each[number % len(each)], "id": str(number)} for number in range(12)]
    questions.write_text("".join(json.dumps(one) + "\n" for one in many))
    ended = command("eval", questions, "-f", ingested, "--compare", blind)
    assert ended.code == 0, ended.stderr
    (ndcg,) = (line for line in ended.stdout.splitlines() if line.startswith("ndcg@10"))
    assert ndcg.endswith("-1.0000  [-1.0000, -1.0000]  worse: the interval excludes 0")


def test_the_exit_code_tells_a_pipeline_that_a_measure_is_too_low(
    command: Command, ingested: Path, questions: Path
) -> None:
    assert command("eval", questions, "-f", ingested, "--fail-below", "ndcg@10=0.9").code == 0
    with questions.open("a") as file:
        file.write('\n{"question": "Which bird flies from pole to pole?", "relevant": ["bread.md"]}')
    ended = command("eval", questions, "-f", ingested, "--fail-below", "ndcg@10=0.95", "--fail-below", "recall@10=0.9")
    assert ended.code == 5
    assert [line for line in ended.stdout.splitlines() if line.startswith("below")] == [
        "below: ndcg@10 is 0.9077, --fail-below asks for 0.95"
    ]
    found = command("eval", questions, "-f", ingested, "--fail-below", "mrr=0.9", "--json")
    assert (found.code, [missed["measure"] for missed in found.json["below"]]) == (5, ["mrr"])


def test_a_judged_document_that_the_collection_lacks_is_told(command: Command, ingested: Path, questions: Path) -> None:
    questions.write_text(f'{QUESTIONS[0]}\n{{"question": "?", "relevant": ["brids.md"]}}')
    ended = command("eval", questions, "-f", ingested)
    assert ended.code == 1
    assert f'{questions}:2: relevant: the collection has no document "brids.md"' in ended.stderr


def test_a_question_that_fails_is_told_with_its_line(command: Command, ingested: Path, questions: Path) -> None:
    questions.write_text(f"{QUESTIONS[0]}\n" + QUESTIONS[1].replace("What", "a " * 5000))
    ended = command("eval", questions, "-f", ingested)
    assert ended.code == 1
    assert ended.stderr.splitlines()[-1].startswith(f"sibyl: {questions}:2: query: must")


def test_a_running_server_is_measured_with_its_key(
    command: Command, ingested: Path, questions: Path, database_dsn: str
) -> None:
    protected = ingested.with_name("protected.yaml")
    cached = "shops:\n  infrastructure: {config: {caching: {enabled: true, backend: memory}}}\n"
    protected.write_text(ingested.read_text() + 'mcp:\n  authentication: {type: api_key, keys: ["${KEY}"]}\n' + cached)
    with serving(protected, environ={"DATABASE_URL": database_dsn, "KEY": "alpha"}) as server:
        refused = command("eval", questions, "--server", server.api)
        assert (refused.code, "needs an API key" in refused.stderr) == (1, True)
        found = command(
            "eval", questions, "--server", server.api, "--api-key", "alpha", "--compare", ingested, "--json"
        )
    assert found.code == 0, found.stderr
    remote, here = found.json["runs"]
    assert remote["measures"] == here["measures"]
    assert remote["from_cache"] == 1, "the first question was asked once before"
    assert here["from_cache"] == 0
    assert found.json["notes"][-1] == f"whether {server.api} holds the judged documents could not be checked"


def test_a_server_that_lets_us_wait_is_asked_again_and_its_time_does_not_count(
    command: Command, questions: Path
) -> None:
    reply = Reply(body={"output": {"sources": [{"document": "birds.md"}] * 2}, "metadata": {"cache": "off"}})
    busy = refusal(503, "overloaded", Retry_After="0")
    with scripted_service([reply, busy, reply, reply, reply]) as service:
        found = command("eval", questions, "--server", service.url, "--json")
    assert found.code == 0, found.stderr
    assert found.json["runs"][0]["by_question"]["mrr"] == [1.0, 0.0, 0.0]
    assert set(found.json["runs"][0]["latency"]) == {"p50_ms", "p95_ms"}
    with scripted_service([Reply(body={"output": {}})]) as service:
        ended = command("eval", questions, "--server", service.url)
    assert (ended.code, "the reply names no sources" in ended.stderr) == (3, True)


WRONG = [
    (["eval", "q.jsonl"], "give one of them"),
    (
        ["eval", "q.jsonl", "-f", "x", "--fail-below", "ndcg@5=0.4"],
        '"ndcg@5" is not measured; measured: ndcg@10, recall',
    ),
    (["eval", "q.jsonl", "-f", "x", "--fail-below", "mrr=40"], '"mrr=40" needs a number from 0 to 1'),
    (["eval", "q.jsonl", "-f", "x", "--fail-below", "mrr"], '"mrr" needs a number from 0 to 1'),
    (["eval", "q.jsonl", "-f", "x", "--compare", "x"], "is what is evaluated already"),
    (["eval", "q.jsonl", "--server", "localhost"], '"localhost" is not the address of a server'),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: " ".join(value) if value else "")
def test_wrong_usage_is_told(command: Command, arguments: list[str], message: str) -> None:
    ended = command(*arguments)
    assert ended.code == 2
    assert message in ended.stderr


def test_a_tool_that_takes_no_top_k_is_told_by_the_option(
    command: Command, ingested: Path, questions: Path, tmp_path: Path
) -> None:
    by_words = tmp_path / "by-words.yaml"
    by_words.write_text(ingested.read_text() + BY_WORDS)
    ended = command("eval", "-f", by_words, questions, "--top-k", "9")
    assert ended.code == 1
    assert "--top-k: tool `search_documents` of" in ended.stderr
    assert "takes no top_k: a pipeline that is written takes it where it refers to ${top_k}" in ended.stderr


def test_a_tool_that_is_not_there_is_told_with_the_ones_that_are(
    command: Command, ingested: Path, questions: Path
) -> None:
    ended = command("eval", questions, "-f", ingested, "--tool", "nope")
    assert (ended.code, ended.stderr.splitlines()[-1]) == (
        1, f"sibyl: {ingested}: there is no tool `nope`; known: search_documents",
    )  # fmt: skip
