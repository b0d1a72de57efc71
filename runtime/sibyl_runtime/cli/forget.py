"""`sibyl forget`: remove the documents of a source that is not loaded any more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import typer

from sibyl_runtime.cli.documents import read_document, settings_for
from sibyl_runtime.cli.joining import joined
from sibyl_runtime.cli.output import plural, print_json
from sibyl_runtime.cli.run import run_async
from sibyl_runtime.errors import NotFound
from sibyl_runtime.runtime import Runtime


def forget(file: Path, source: str, *, data_directory: Path | None, as_json: bool) -> None:
    """Remove and report. A source has any name, so it is tried as typed first; a folder goes by its absolute path."""
    if not source.strip():
        raise typer.BadParameter("is empty; name the source as the ingest did", param_hint="SOURCE")
    names = tuple(dict.fromkeys((source, str(Path(source).resolve()))))
    name, removed = run_async(lambda: _forget(file, names, data_directory))
    if as_json:
        print_json({"source": name, "removed": removed})
    else:
        print(f"removed {plural(removed, 'document')} of {name}")


async def _forget(file: Path, names: Sequence[str], data_directory: Path | None) -> tuple[str, int]:
    """The name that the source has, and how many documents it had."""
    settings = settings_for(data_directory)
    runtime = await Runtime.open(joined(read_document(file), settings, os.environ), os.environ, settings)
    try:
        return await _removed(runtime, names)
    finally:
        await runtime.close()


async def _removed(runtime: Runtime, names: Sequence[str]) -> tuple[str, int]:
    for name in names[:-1]:
        with contextlib.suppress(NotFound):
            return name, await runtime.forget(name)
    return names[-1], await runtime.forget(names[-1])
