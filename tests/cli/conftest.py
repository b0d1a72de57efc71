"""The command line in this process, over a real database; and the environment that it finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sibyl_runtime.cli.app import app
from tests.support.postgres import database_dsn as database_dsn
from tests.support.postgres import postgres_server as postgres_server
from tests.support.sibyl import Finished

Command = Callable[..., Finished]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs `sibyl` with these arguments, in an empty directory."""
    for name in ("SIBYL_WORKSPACE_FILE", "SIBYL_API_KEY", "SIBYL_DATA_DIR", "SIBYL_LOG_LEVEL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Finished:
        ended = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return Finished(ended.exit_code, ended.stdout, ended.stderr)

    return run


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """The smallest document."""
    file = tmp_path / "workspace.yaml"
    file.write_text("name: docs\n")
    return file


@pytest.fixture
def over_database(tmp_path: Path, database_dsn: str, monkeypatch: pytest.MonkeyPatch, command: Command) -> Path:
    """A document over a fresh PostgreSQL; `command` is asked for first, because it empties the environment."""
    del command
    monkeypatch.setenv("DATABASE_URL", database_dsn)
    file = tmp_path / "workspace.yaml"
    file.write_text('name: docs\nproviders:\n  vector_store:\n    main: {kind: pgvector, dsn: "${DATABASE_URL}"}\n')
    return file


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """Three documents."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "bridge.md").write_text("# Bridges\n\nThe Humber bridge carries 120,000 vehicles a week.\n")
    (folder / "bread.md").write_text("# Bread\n\nSourdough needs a starter that is fed with flour every day.\n")
    (folder / "birds.md").write_text("# Birds\n\nThe Arctic tern flies from pole to pole and back each year.\n")
    return folder
