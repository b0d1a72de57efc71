"""`sibyl pipeline list` and `run`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Command

CONDITIONAL = """
pipelines:
  careful:
    parameters: {threshold: {type: number, required: true}}
    steps:
      - use: rag.retrieval
      - use: ai_generation.generation
        condition: ${retrieval.top_score} > ${threshold}
"""


def test_the_list_names_steps_and_parameters_of_built_in_pipelines_too(command: Command, workspace: Path) -> None:
    ended = command("pipeline", "list", "-f", workspace)
    assert ended.stdout.splitlines() == [
        "PIPELINE  STEPS                                                                    PARAMETERS",
        "ingest    data.load_documents → rag.chunking → rag.embedding → data.store_vectors  path",
        "search    rag.retrieval → ai_generation.generation                                 filters, query, top_k",
    ]


def test_the_list_as_json(command: Command, workspace: Path) -> None:
    first, second = command("pipeline", "list", "-f", workspace, "--json").json
    assert (first["name"], second["name"]) == ("ingest", "search")
    assert second["steps"] == ["rag.retrieval", "ai_generation.generation"]


def test_a_run_prints_what_each_step_returned(command: Command, over_database: Path, documents: Path) -> None:
    loaded = command("pipeline", "run", "-f", over_database, "--pipeline", "ingest", "--param", f"path={documents}")
    assert loaded.code == 0, loaded.stderr
    assert "  documents: 3" in loaded.stdout.splitlines()
    run = command(
        "pipeline", "run", "-f", over_database, "-p", "search", "--param", "query=Which bird flies far?",
        "--param", "top_k=2",
    )  # fmt: skip
    lines = run.stdout.splitlines()
    assert lines[0].startswith("retrieval  ")
    assert "  chunks: 2 items" in lines
    assert any(line.startswith("  answer: ") and "Arctic tern" in line for line in lines)
    assert lines[-1].startswith("total ")


def test_a_step_whose_condition_is_false_is_told_as_skipped(
    command: Command, over_database: Path, documents: Path
) -> None:
    over_database.write_text(over_database.read_text() + CONDITIONAL)
    assert command("ingest", "-f", over_database, documents).code == 0
    arguments = ("pipeline", "run", "-f", over_database, "-p", "careful", "--param", "query=bird")
    skipped = command(*arguments, "--param", "threshold=0.99")
    assert (
        "generation  skipped: its condition is false, or nothing failed that it could mend"
        in skipped.stdout.splitlines()
    )
    done = command(*arguments, "--param", "threshold=-1", "--json").json
    assert done["results"]["generation"]["answer"]
    assert {stage["step"] for stage in done["stages"]} == {"retrieval", "generation"}


def test_an_unknown_pipeline_and_a_wrong_parameter_are_one_line(command: Command, over_database: Path) -> None:
    unknown = command("pipeline", "run", "-f", over_database, "-p", "nope")
    assert (unknown.code, unknown.stderr.splitlines()[-1]) == (
        1, "sibyl: there is no pipeline `nope`; known: ingest, search",
    )  # fmt: skip
    wrong = command("pipeline", "run", "-f", over_database, "-p", "search", "--param", "quary=x")
    assert (wrong.code, wrong.stderr.splitlines()[-1]) == (
        1, "sibyl: quary: unknown parameter. Did you mean query?",
    )  # fmt: skip


def test_warming_the_memory_of_the_command_is_refused(command: Command, workspace: Path) -> None:
    workspace.write_text(
        "shops: {infrastructure: {config: {caching: {enabled: true}}}}\n"
        "pipelines: {warm: {steps: [{use: infrastructure.cache_warming, config: {queries: [a]}}]}}\n"
    )
    ended = command("pipeline", "run", "-f", workspace, "-p", "warm")
    assert ended.code != 0
    assert (
        'pipeline "warm" warms caches that end with this command: they are in the memory of a process; `sibyl serve` '
        "warms its own when it starts and when documents change; for this command, add the level redis or disk under "
        "shops.infrastructure.config.caching"
    ) in " ".join(ended.stderr.split())
