"""What is given on the command line takes effect, or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sibyl_runtime.cli.documents import read_document
from sibyl_runtime.cli.exit_codes import ExitCode
from sibyl_runtime.cli.warnings import log_notices
from sibyl_runtime.workspace import parse_workspace
from tests.cli.conftest import Command

RESOURCE = """\
apiVersion: sibyl.dev/v1alpha1
kind: SibylWorkspace
metadata: {name: docs}
spec:
  workspace:
    mcp:
      authentication:
        keys: [very-secret]
"""


@pytest.mark.parametrize(
    "arguments",
    [("query", "What?"), ("eval", "questions.jsonl"), ("ingest", "documents")],
    ids=["query", "eval", "ingest"],
)
@pytest.mark.parametrize("option", ["--file", "--data-dir"])
def test_an_option_that_a_server_makes_idle_is_refused(
    command: Command, workspace: Path, arguments: tuple[str, str], option: str
) -> None:
    ended = command(*arguments, "--server", "http://127.0.0.1:9", option, workspace)
    assert ended.code == ExitCode.USAGE
    assert f"Invalid value for {option}: has no effect with --server; give one of them" in ended.stderr


def test_a_file_that_the_environment_names_may_stand_beside_a_server(
    command: Command, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIBYL_WORKSPACE_FILE", str(workspace))
    ended = command("query", "--server", "http://127.0.0.1:9", "What?")
    assert ended.code == ExitCode.UNAVAILABLE
    assert "cannot reach http://127.0.0.1:9" in ended.stderr


@pytest.mark.parametrize(("option", "what"), [("--cpus", "no list of processors"), ("--gc-threshold", "three whole")])
def test_nothing_is_no_setting_of_the_machine(command: Command, workspace: Path, option: str, what: str) -> None:
    ended = command("serve", "-f", workspace, option, "")
    assert ended.code == ExitCode.USAGE
    assert what in ended.stderr


def test_tools_that_are_off_are_not_served_over_stdio(command: Command, workspace: Path) -> None:
    workspace.write_text("mcp: {enabled: false}\n")
    ended = command("mcp", "-f", workspace)
    assert (ended.code, ended.stdout) == (ExitCode.INVALID, "")
    assert "mcp.enabled: is false, so there is no tool to serve" in ended.stderr


def test_a_valid_document_is_told_what_has_no_effect(command: Command, workspace: Path) -> None:
    workspace.write_text("mcp:\n  compression: {enabled: false, min_size: 10}\n")
    ended = command("workspace", "validate", workspace)
    told = "mcp.compression: is off (enabled: false); 1 setting has no effect: min_size"
    assert (ended.code, ended.stderr) == (0, f"{workspace}: warning: {told}  (line 2)\n")
    assert "valid" in ended.stdout
    as_json = json.loads(command("workspace", "validate", workspace, "--json").stdout)
    assert [warning["path"] for warning in as_json["warnings"]] == ["mcp.compression"]


def test_a_secret_in_a_custom_resource_is_refused_and_in_a_file_warned_about(command: Command, tmp_path: Path) -> None:
    resource, bare = tmp_path / "resource.yaml", tmp_path / "bare.yaml"
    resource.write_text(RESOURCE)
    bare.write_text("mcp: {authentication: {keys: [very-secret]}}\n")
    refused = command("workspace", "validate", resource)
    warned = command("workspace", "validate", bare)
    assert (refused.code, warned.code) == (ExitCode.INVALID, 0)
    for ended in (refused, warned):
        assert "mcp.authentication.keys[0]: holds a literal secret (not shown here)" in ended.stderr
        assert "very-secret" not in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    ("provider", "told"),
    [
        ("{kind: openai, model: m}", "providers.llm.main.api_key: is required for OpenAI's own server"),
        (
            "{kind: openai, model: m, base_url: 'https://me:${PW}@models'}",
            "providers.llm.main.base_url: must not hold a user or password; give the key as api_key",
        ),
        ("{kind: openai, model: m, base_url: 'models/v1'}", "providers.llm.main.base_url: must start with http://"),
        (
            "{kind: openai, model: m, base_url: 'https://models/v1?key=very-secret'}",
            "providers.llm.main.base_url: must end with its path",
        ),
    ],
)
def test_what_serve_would_refuse_of_a_model_is_told_before(
    command: Command, workspace: Path, provider: str, told: str
) -> None:
    workspace.write_text(f"providers:\n  llm:\n    main: {provider}\n")
    ended = command("workspace", "validate", workspace)
    assert ended.code == ExitCode.INVALID
    assert told in ended.stderr
    assert "very-secret" not in ended.stderr


def test_a_server_logs_at_its_start_what_has_no_effect(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    workspace.write_text("mcp:\n  cdn: {enabled: false, provider: fastly}\n")
    source = read_document(workspace)
    log_notices(parse_workspace(source.raw), source)
    assert caplog.messages == ["mcp.cdn: is off (enabled: false); 1 setting has no effect: provider  (line 2)"]


def test_all_that_is_wrong_with_one_step_is_told_at_once(command: Command, workspace: Path) -> None:
    workspace.write_text(
        "pipelines:\n  p:\n    steps:\n      - use: rag.retrieval\n        config:\n"
        "          subtechnique: vector\n          mmr_lambda: 0.5\n          mmr_candidates: 60\n          min_k: 2\n"
    )
    ended = command("workspace", "validate", workspace)
    assert ended.code == ExitCode.INVALID
    for name in ("mmr_lambda", "mmr_candidates", "min_k"):
        assert f"pipelines.p.steps[0].config.{name}: " in ended.stderr
