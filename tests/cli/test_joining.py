"""A command beside a running server uses the server's database; without one it starts its own."""

from __future__ import annotations

from pathlib import Path

from sibyl_runtime.cli.joining import joined
from sibyl_runtime.settings import Settings
from sibyl_runtime.store.embedded import EmbeddedPostgres
from sibyl_runtime.workspace import load_document


def test_only_a_database_that_answers_is_joined(tmp_path: Path) -> None:
    settings = Settings(data_directory=tmp_path)
    source = load_document("workspace.yaml", "name: docs\nproviders: {vector_store: {main: {pool_size: 2}}}\n")
    assert joined(source, settings, {}) is source
    postgres = EmbeddedPostgres(settings.postgres_directory)
    dsn = postgres.start()
    try:
        inside = joined(source, settings, {})
        assert inside.raw["providers"]["vector_store"]["main"]["pool_size"] == 2
        assert inside.raw["providers"]["vector_store"]["main"]["dsn"].split("&")[0] == dsn.split("&")[0]
        assert "dsn" not in source.raw["providers"]["vector_store"]["main"]
        bare = joined(load_document("workspace.yaml", "name: docs\n"), settings, {})
        assert list(bare.raw["providers"]["vector_store"]) == ["default"]
    finally:
        postgres.stop()
    assert joined(source, settings, {}) is source


def test_a_database_of_the_users_own_is_never_exchanged(tmp_path: Path) -> None:
    text = "name: docs\nproviders: {vector_store: {main: {dsn: '${DATABASE_URL}'}}}\n"
    source = load_document("workspace.yaml", text)
    assert joined(source, Settings(data_directory=tmp_path), {"DATABASE_URL": "postgresql://db/rag"}) is source
