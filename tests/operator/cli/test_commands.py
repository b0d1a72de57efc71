"""The command line `sibyl-operator`, run as users run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sibyl_operator import __version__
from sibyl_operator.api.crd import custom_resource_definition
from sibyl_operator.cli.app import app
from tests.operator.api.facts import ROOT, body

QUICKSTART = ROOT / "manifests" / "samples" / "quickstart.yaml"


def run(*arguments: str, code: int = 0, environment: dict[str, str] | None = None) -> tuple[str, str]:
    """Output and errors of one command, which must end with `code`."""
    done = CliRunner().invoke(app, list(arguments), env=environment)
    assert done.exit_code == code, f"{done.stdout}\n{done.stderr}\n{done.exception!r}"
    return done.stdout, done.stderr


def test_the_version_is_printed() -> None:
    assert run("--version")[0] == f"sibyl-operator {__version__}\n"


@pytest.mark.parametrize("command", ["run", "crd", "render", "check"])
def test_every_command_has_help(command: str) -> None:
    assert "Usage:" in run(command, "--help")[0]


def test_the_crd_is_printed_as_yaml_and_as_json() -> None:
    assert yaml.safe_load(run("crd")[0]) == custom_resource_definition()
    assert json.loads(run("crd", "--json")[0]) == custom_resource_definition()


def test_the_children_of_a_workspace_are_printed() -> None:
    documents = list(yaml.safe_load_all(run("render", "--file", str(QUICKSTART))[0]))
    kinds = [made["kind"] for made in documents]
    assert kinds[:3] == ["ServiceAccount", "ConfigMap", "NetworkPolicy"]
    assert {"Deployment", "StatefulSet"} <= set(kinds)
    printed = json.loads(run("render", "-f", str(QUICKSTART), "--json", "--namespace", "team")[0])
    assert {made["metadata"]["namespace"] for made in printed["items"]} == {"team"}


def test_problems_are_printed_with_their_places_and_end_with_1(tmp_path: Path) -> None:
    file = tmp_path / "docs.yaml"
    file.write_text(yaml.safe_dump(body(workspace={"mcp": {"prot": 1}}, runtime={"replicas": 0})))
    output, errors = run("render", "--file", str(file), code=1)
    assert output == ""
    assert errors == (f"{file}: spec.runtime.replicas: should be greater than or equal to 1, found 0\n1 error\n")


def test_problems_are_printed_as_json(tmp_path: Path) -> None:
    file = tmp_path / "docs.yaml"
    file.write_text(yaml.safe_dump(body(workspace={"mcp": {"prot": 1}})))
    output, errors = run("render", "--file", str(file), "--json", code=1)
    assert errors == ""
    found = json.loads(output)
    assert found["valid"] is False
    assert [(p["path"], p["message"]) for p in found["problems"]] == [
        ("spec.workspace.mcp.prot", "unknown key. Did you mean port?")
    ]
    assert found["problems"][0]["line"] is not None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert (
        run("render", "--file", str(missing), code=1)[1]
        == f"{missing}: cannot be read: No such file or directory\n1 error\n"
    )


def test_a_setting_that_cannot_be_used_is_named_before_anything_starts() -> None:
    _, errors = run("run", "--log-level", "loud", code=2)
    assert errors == "sibyl-operator: SIBYL_OPERATOR_LOG_LEVEL: found 'LOUD', allowed: DEBUG, INFO, WARNING, ERROR\n"


def test_a_variable_that_is_no_setting_is_named() -> None:
    _, errors = run("run", code=2, environment={"SIBYL_OPERATOR_WORKRES": "3"})
    assert errors.startswith("sibyl-operator: SIBYL_OPERATOR_WORKRES is not a setting; the settings are: ")


def test_without_an_api_server_the_operator_says_so_and_ends_with_3(tmp_path: Path) -> None:
    missing = tmp_path / "kubeconfig"
    run("run", "--kubeconfig", str(missing), "--http-port", "0", code=3)


def test_a_check_that_fails_names_what_failed_and_ends_with_1(tmp_path: Path) -> None:
    nobody, missing = "http://127.0.0.1:9", tmp_path / "kubeconfig"
    output, _ = run("check", "--url", nobody, "--kubeconfig", str(missing), "--timeout", "0", code=1)
    lines = output.splitlines()
    assert [line.split()[0] for line in lines] == ["FAILED"] * 3
    assert lines[0].startswith(f"FAILED  {nobody}/readyz: ")
    assert str(missing) in lines[2]
