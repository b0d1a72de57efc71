"""Runs a command's coroutine, and turns what stops it into one line on stderr and an exit code."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sibyl_runtime.cli.exit_codes import ExitCode
from sibyl_runtime.errors import DatabaseUnavailable, Overloaded, ProviderError, SibylError, StartupError
from sibyl_runtime.workspace import WorkspaceInvalid

Value = TypeVar("Value")
UNAVAILABLE = (StartupError, DatabaseUnavailable, Overloaded, ProviderError)


@contextmanager
def reported() -> Iterator[None]:
    """End the program with a line that says why, never with a traceback, for everything that is raised on purpose."""
    try:
        yield
    except WorkspaceInvalid as error:
        _end(str(error), ExitCode.INVALID)
    except SibylError as error:
        _end(error.message, ExitCode.UNAVAILABLE if isinstance(error, UNAVAILABLE) else ExitCode.INVALID)
    except BrokenPipeError:
        # The reader has what it wanted (`sibyl ... | head`); leave nothing for the interpreter to flush.
        sys.stdout = None
        raise SystemExit(ExitCode.OK) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        _end("interrupted", ExitCode.INTERRUPTED)


def run_async(main: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
    """The value of `main()`. SIGTERM ends it as Ctrl-C does: cancelled, so that it cleans up after itself."""
    import uvloop

    async def interruptible() -> Value:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main()

    with reported(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(interruptible())
    raise AssertionError("unreachable: reported() ends the program")  # for the type checker


def _end(message: str, code: ExitCode) -> None:
    print(message if code is ExitCode.INVALID and "\n" in message else f"sibyl: {message}", file=sys.stderr)
    raise SystemExit(code)
