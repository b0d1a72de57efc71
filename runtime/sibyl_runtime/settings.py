"""What a process takes from its surroundings, read once: where data goes and what overrides the workspace's ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sibyl_runtime.errors import StartupError

LONGEST_WAIT = 3_600
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class Settings:
    """Settings of one process. None leaves a value to the workspace document."""

    data_directory: Path = Path(".sibyl")
    host: str | None = None
    port: int | None = None
    metrics_port: int | None = None
    log_level: str | None = None
    database_wait: float = 0.0
    """Seconds to wait at start for a database that is not there yet."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """From SIBYL_DATABASE_WAIT, SIBYL_DATA_DIR, SIBYL_HOST, SIBYL_LOG_LEVEL, SIBYL_METRICS_PORT and SIBYL_PORT.

        An empty variable is as not set. Raises StartupError naming the variable.
        """
        level = environ.get("SIBYL_LOG_LEVEL", "").lower() or None
        if level is not None and level not in LOG_LEVELS:
            raise StartupError(f'SIBYL_LOG_LEVEL is "{level}"; allowed: {", ".join(LOG_LEVELS)}')
        return cls(
            data_directory=Path(environ.get("SIBYL_DATA_DIR") or ".sibyl"),
            host=environ.get("SIBYL_HOST") or None,
            port=_port(environ, "SIBYL_PORT"),
            metrics_port=_port(environ, "SIBYL_METRICS_PORT"),
            log_level=level,
            database_wait=_seconds(environ, "SIBYL_DATABASE_WAIT"),
        )

    @property
    def postgres_directory(self) -> Path:
        """Where the embedded PostgreSQL keeps its data."""
        return self.data_directory / "postgres"


def _seconds(environ: Mapping[str, str], name: str) -> float:
    text = environ.get(name) or "0"
    if not (text.isascii() and text.isdigit() and int(text) <= LONGEST_WAIT):
        raise StartupError(f'{name} is "{text}"; it must be a number of seconds, 0 to {LONGEST_WAIT}')
    return float(text)


def _port(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise StartupError(f'{name} is "{text}"; it must be a port, 0 to 65535 (0: any free one)')
    return int(text)
