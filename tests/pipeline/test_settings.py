"""Settings of a process come from its environment, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.settings import Settings


def test_an_empty_environment_leaves_everything_to_the_workspace() -> None:
    settings = Settings.from_environment({"SIBYL_PORT": "", "SIBYL_HOST": ""})
    assert settings == Settings(Path(".sibyl"), None, None, None, None)
    assert settings.postgres_directory == Path(".sibyl/postgres")


def test_every_variable_is_read() -> None:
    environ = {
        "SIBYL_DATA_DIR": "/data",
        "SIBYL_HOST": "127.0.0.1",
        "SIBYL_PORT": "8123",
        "SIBYL_METRICS_PORT": "0",
        "SIBYL_LOG_LEVEL": "DEBUG",
        "SIBYL_DATABASE_WAIT": "90",
    }
    assert Settings.from_environment(environ) == Settings(Path("/data"), "127.0.0.1", 8123, 0, "debug", 90.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SIBYL_PORT", "http", 'SIBYL_PORT is "http"; it must be a port, 0 to 65535'),
        ("SIBYL_PORT", "70000", 'SIBYL_PORT is "70000"; it must be a port'),
        ("SIBYL_METRICS_PORT", "-1", 'SIBYL_METRICS_PORT is "-1"; it must be a port'),
        ("SIBYL_DATABASE_WAIT", "long", 'SIBYL_DATABASE_WAIT is "long"; it must be a number of seconds, 0 to 3600'),
        ("SIBYL_DATABASE_WAIT", "3601", 'SIBYL_DATABASE_WAIT is "3601"; it must be'),
        ("SIBYL_LOG_LEVEL", "loud", 'SIBYL_LOG_LEVEL is "loud"; allowed: debug, info, warning, error, critical'),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: str, message: str) -> None:
    with pytest.raises(StartupError, match=message):
        Settings.from_environment({name: value})
