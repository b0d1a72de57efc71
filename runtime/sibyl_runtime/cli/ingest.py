"""`sibyl ingest`: load documents, show how far it is, name what was left out."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from sibyl_runtime.cli.documents import read_document, settings_for
from sibyl_runtime.cli.exit_codes import ExitCode
from sibyl_runtime.cli.joining import joined
from sibyl_runtime.cli.output import plural, print_json, seconds
from sibyl_runtime.cli.run import run_async
from sibyl_runtime.cli.service import Service
from sibyl_runtime.pipeline.context import IngestProgress
from sibyl_runtime.runtime import IngestReport, Runtime

LINE_EVERY = 2.0
"""Seconds between two lines of progress where there is no terminal."""
Report = Callable[[IngestProgress], None]


def ingest(file: Path, path: Path | None, *, pipeline: str, data_directory: Path | None, as_json: bool) -> NoReturn:
    """Load and report. Ends the process with an ExitCode."""
    _end(run_async(lambda: _ingest(file, path, pipeline, data_directory)), as_json=as_json)


def send(service: Service, path: Path, *, pipeline: str, source: str | None, as_json: bool) -> NoReturn:
    """Read here, have it stored there, and report alike. Ends the process with an ExitCode."""
    from sibyl_runtime.cli.sending import send_documents

    async def sent() -> IngestReport:
        with progress_shown() as progress:
            return await send_documents(service, path, pipeline=pipeline, source=source, progress=progress)

    _end(run_async(sent), as_json=as_json)


def _end(report: IngestReport, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json(report)
    else:
        print(summary(report))
    for skipped in report.skipped:
        print(f"skipped {skipped.path}: {skipped.reason}", file=sys.stderr)
    for source, count in report.copies.items():
        print(
            f"note: {plural(count, 'document')} of the same id and text came from {source}, too, and answers may show "
            f"both; if that is the same folder under an old name, run: sibyl forget --file FILE {shlex.quote(source)}",
            file=sys.stderr,
        )
    raise SystemExit(ExitCode.PARTIAL if report.skipped else ExitCode.OK)


def summary(report: IngestReport) -> str:
    """`ingested 41 documents   312 chunks · 8.4 s · 37 chunks/s · 3 unchanged · 1 removed · 2 skipped`."""
    parts = [plural(report.chunks, "chunk"), seconds(report.seconds)]
    if report.chunks and report.seconds:
        parts.append(f"{report.chunks / report.seconds:.0f} chunks/s")
    if report.unchanged:
        parts.append(f"{report.unchanged:,} unchanged")
    if report.replaced:
        parts.append(f"{report.replaced:,} replaced")
    if report.removed:
        parts.append(f"{report.removed:,} removed")
    if report.skipped:
        parts.append(f"{len(report.skipped):,} skipped")
    return f"ingested {plural(report.documents, 'document')}   {' · '.join(parts)}"


async def _ingest(file: Path, path: Path | None, pipeline: str, data_directory: Path | None) -> IngestReport:
    settings = settings_for(data_directory)
    runtime = await Runtime.open(joined(read_document(file), settings, os.environ), os.environ, settings)
    try:
        with progress_shown() as progress:
            return await runtime.ingest(None if path is None else str(path), pipeline=pipeline, progress=progress)
    finally:
        await runtime.close()


@contextmanager
def progress_shown() -> Iterator[Report]:
    """A bar on a terminal, a line every few seconds elsewhere; on stderr, so that stdout is the result alone."""
    if sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _lines(time.monotonic)


@contextmanager
def _bar() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("ingesting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("documents · {task.fields[chunks]} chunks"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("ingest", total=None, chunks=0)

        def report(progress: IngestProgress) -> None:
            done = progress.documents + progress.unchanged
            bar.update(task, completed=done, total=progress.total_documents, chunks=progress.chunks)

        yield report


def _lines(clock: Callable[[], float]) -> Report:
    last = clock()

    def report(progress: IngestProgress) -> None:
        nonlocal last
        if clock() - last < LINE_EVERY:
            return
        last = clock()
        total = f" of {progress.total_documents:,}" if progress.total_documents is not None else ""
        done = progress.documents + progress.unchanged
        print(
            f"{done:,}{total} documents · {progress.chunks:,} chunks · {seconds(progress.seconds)}",
            file=sys.stderr,
            flush=True,
        )

    return report
