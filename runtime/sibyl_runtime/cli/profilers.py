"""Watches a stretch of work: where its time goes, or its memory, as a table and as a flame graph in a file.

Time by pyinstrument, which looks at the event loop's thread a thousand times a second; memory by memray, which sees
every allocation, those of native libraries too. Both come with the extra `profile`, and not into the serving image.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sibyl_runtime.errors import InvalidParameters, StartupError

if TYPE_CHECKING:
    from memray import Tracker
    from pyinstrument import Profiler as Sampler
    from pyinstrument.frame import Frame
    from pyinstrument.session import Session

SECONDS_BETWEEN_LOOKS = 0.001
SPEEDSCOPE, WEB_PAGE = ".json", (".html", ".htm")
_PACKAGES = "site-packages/"
_OWN = "/sibyl_runtime/"
_MEMRAY = (sys.executable, "-P", "-m", "memray")


@dataclass(frozen=True)
class Function:
    """What one function took: seconds, or bytes. `own` without the functions that it called."""

    name: str
    file: str
    line: int
    total: float
    own: float


@dataclass(frozen=True)
class Profile:
    """`kind` says what is counted: `seconds`, or `bytes` at the moment when most were held; `amount` of them in all.
    `functions` has those that took most first: by `total` of time, by `own` of memory."""

    kind: str
    amount: float
    functions: Sequence[Function]


class Watching(Protocol):
    """How a stretch of work is watched.

    `recorder` is the library's own context, to be entered where the work is: memray loses its place in the stack when
    the frame that entered it is left before the work is done.
    """

    @property
    def recorder(self) -> AbstractContextManager[Any, Any]:
        """Records as long as it is open."""

    def told(self) -> Profile:
        """What was recorded; the flame graph is written."""


@contextmanager
def watching_time(output: Path) -> Iterator[Watching]:
    """This thread's time; the flame graph is a web page for .html, and for .json in the format of speedscope.app.

    Raises StartupError without the extra.
    """
    try:
        from pyinstrument import Profiler
    except ImportError as error:
        raise missing("pyinstrument") from error
    # All of the thread, whichever task runs: with "enabled" only this task would be seen.
    yield _Time(output, Profiler(SECONDS_BETWEEN_LOOKS, async_mode="disabled"))


@contextmanager
def watching_memory(output: Path) -> Iterator[Watching]:
    """What the process allocates, and holds when it holds most; the flame graph is a web page.

    Raises StartupError without the extra.
    """
    try:
        from memray import Tracker
    except ImportError as error:
        raise missing("memray") from error
    with tempfile.TemporaryDirectory(prefix="sibyl-profile-") as directory:
        recorded = Path(directory) / "memory.bin"
        yield _Memory(output, Tracker(recorded), recorded)


@dataclass
class _Time:
    output: Path
    recorder: Sampler

    def told(self) -> Profile:
        session = self.recorder.last_session
        assert session is not None
        root = write_flame_graph(self.output, session)
        return Profile("seconds", session.duration, [] if root is None else functions_of(root))


@dataclass
class _Memory:
    output: Path
    recorder: Tracker
    recorded: Path

    def told(self) -> Profile:
        # --no-web: the page brings its scripts along instead of asking another company's network for them.
        command = (*_MEMRAY, "flamegraph", "--no-web", "--force", "--output", str(self.output), str(self.recorded))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StartupError(f"memray could not write {self.output}: {done.stderr.strip() or done.stdout.strip()}")
        functions = _held(self.recorded)
        return Profile("bytes", sum(function.own for function in functions), functions)


def check_output(output: Path, *, memory: bool) -> None:
    """Raises InvalidParameters for a file that could not be written after all the work."""
    allowed = WEB_PAGE if memory else (*WEB_PAGE, SPEEDSCOPE)
    if output.suffix not in allowed:
        raise InvalidParameters(f"--output: found {output}; allowed: a name that ends with {', '.join(allowed)}")
    if not output.absolute().parent.is_dir():
        raise InvalidParameters(f"--output: there is no directory {output.absolute().parent}; make it first")


def write_flame_graph(output: Path, session: Session) -> Frame | None:
    """Write `session` as the name of the file asks for it; its outermost frame, None when nothing was seen."""
    from pyinstrument.renderers import HTMLRenderer, SpeedscopeRenderer

    renderer = SpeedscopeRenderer() if output.suffix == SPEEDSCOPE else HTMLRenderer()
    output.write_text(renderer.render(session), encoding="utf-8")
    return session.root_frame()


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


def _short(file: str) -> str:
    """The path below the packages or the standard library that it belongs to."""
    for root in (_PACKAGES, f"{sysconfig.get_path('stdlib')}/"):
        _, found, below = file.rpartition(root)
        if found:
            return below
    _, found, below = file.rpartition(_OWN)
    return found.removeprefix("/") + below


def missing(package: str) -> StartupError:
    """The error for a library that the extra would have brought."""
    return StartupError(
        f"sibyl profile needs {package}, which the extra `profile` brings: pip install 'sibyl-operator[profile]'"
    )
