"""Watches a stretch of work: where its time goes, or its memory, as a table and as a flame graph in a file.

Time by pyinstrument, which looks at the event loop's thread a thousand times a second; memory by memray, which sees
every allocation, those of native libraries too. Both come with the extra `profile`, and not into the serving image.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sibyl_runtime.errors import InvalidParameters, StartupError

if TYPE_CHECKING:
    from pyinstrument.frame import Frame

SECONDS_BETWEEN_LOOKS = 0.001
SPEEDSCOPE, WEB_PAGE = ".json", (".html", ".htm")
_PACKAGES = "site-packages/"


@dataclass(frozen=True)
class Function:
    """What one function took: seconds, or bytes. `own` without the functions that it called."""

    name: str
    file: str
    line: int
    total: float
    own: float


@dataclass
class Profile:
    """`kind` says what is counted: `seconds`, or `bytes` at the moment when most were held. Filled when work ends."""

    kind: str
    elapsed_seconds: float = 0.0
    processor_seconds: float = 0.0
    amount: float = 0.0
    functions: list[Function] = field(default_factory=list)


@contextmanager
def watching_time(output: Path) -> Iterator[Profile]:
    """A profile of this thread's time, filled when the block ends; the flame graph goes to `output`.

    A web page for .html, the format of speedscope.app for .json. Raises StartupError without the extra.
    """
    try:
        from pyinstrument import Profiler as Sampler
        from pyinstrument.renderers import HTMLRenderer, SpeedscopeRenderer
    except ImportError as error:
        raise _missing("pyinstrument") from error
    profile = Profile("seconds")
    # All of the thread, whichever task runs: with "enabled" only this task would be seen.
    sampler = Sampler(SECONDS_BETWEEN_LOOKS, async_mode="disabled")
    with _timed(profile):
        sampler.start()
        try:
            yield profile
        finally:
            session = sampler.stop()
    root = session.root_frame()
    profile.amount = session.duration
    profile.functions = [] if root is None else functions_of(root)
    renderer = SpeedscopeRenderer() if output.suffix == SPEEDSCOPE else HTMLRenderer()
    output.write_text(renderer.render(session), encoding="utf-8")


@contextmanager
def watching_memory(output: Path) -> Iterator[Profile]:
    """A profile of what the process allocated in the block and held when it held most.

    The flame graph goes to `output`, a web page. Raises StartupError without the extra.
    """
    try:
        from memray import Tracker
    except ImportError as error:
        raise _missing("memray") from error
    profile = Profile("bytes")
    with tempfile.TemporaryDirectory(prefix="sibyl-profile-") as directory:
        recorded = Path(directory) / "memory.bin"
        with _timed(profile), Tracker(recorded):
            yield profile
        profile.functions = _held(recorded)
        profile.amount = sum(function.own for function in profile.functions)
        # --no-web: the page brings its scripts along instead of asking another company's network for them.
        command = (sys.executable, "-P", "-m", "memray", "flamegraph", "--no-web", "--force", "--output", str(output))
        done = subprocess.run([*command, str(recorded)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StartupError(f"memray could not write {output}: {done.stderr.strip() or done.stdout.strip()}")


def check_output(output: Path, *, memory: bool) -> None:
    """Raises InvalidParameters for a file that could not be written after all the work."""
    allowed = WEB_PAGE if memory else (*WEB_PAGE, SPEEDSCOPE)
    if output.suffix not in allowed:
        raise InvalidParameters(f"--output: found {output}; allowed: a name that ends with {', '.join(allowed)}")
    if not output.absolute().parent.is_dir():
        raise InvalidParameters(f"--output: there is no directory {output.absolute().parent}; make it first")


def functions_of(root: Frame) -> list[Function]:
    """Every function below `root`, with the most time first; a function that calls itself is counted once."""
    totals: dict[tuple[str, str, int], list[float]] = {}
    waiting: list[tuple[Frame, frozenset[tuple[str, str, int]]]] = [(root, frozenset())]
    while waiting:
        frame, above = waiting.pop()
        key = (frame.function, frame.file_path or "", frame.line_no or 0)
        if not frame.is_synthetic:
            took = totals.setdefault(key, [0.0, 0.0])
            took[0] += 0.0 if key in above else frame.time
            took[1] += frame.total_self_time
        waiting += [(child, above | {key}) for child in frame.children]
    found = [Function(name, _short(file), line, *took) for (name, file, line), took in totals.items()]
    return sorted(found, key=lambda function: (-function.total, -function.own, function.file, function.line))


def _held(recorded: Path) -> list[Function]:
    """Functions by the bytes that they, and what they called outside of Python, held at the peak."""
    from memray import FileReader

    own: dict[tuple[str, str, int], float] = {}
    total: dict[tuple[str, str, int], float] = {}
    with FileReader(recorded) as reader:
        for record in reader.get_high_watermark_allocation_records(merge_threads=True):
            stack = [(name, _short(file), 0) for name, file, _ in record.stack_trace()]
            stack = stack or [("(not in Python)", "", 0)]
            own[stack[0]] = own.get(stack[0], 0.0) + record.size
            for key in set(stack):
                total[key] = total.get(key, 0.0) + record.size
    found = [Function(*key, total[key], own.get(key, 0.0)) for key in total]
    return sorted(found, key=lambda function: (-function.own, -function.total, function.file, function.name))


@contextmanager
def _timed(profile: Profile) -> Iterator[None]:
    started, used = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        profile.elapsed_seconds = time.perf_counter() - started
        profile.processor_seconds = time.process_time() - used


def _short(file: str) -> str:
    """The path below site-packages, or below this distribution."""
    _, _, below = file.rpartition(_PACKAGES)
    name = below or file
    return name[name.index("sibyl_runtime/") :] if "sibyl_runtime/" in name else name


def _missing(package: str) -> StartupError:
    return StartupError(
        f"sibyl profile needs {package}, which the extra `profile` brings: pip install 'sibyl-operator[profile]'"
    )
