"""The process that reads: one request after the other on stdin, parts on stdout. See `process.py` for the other end."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from sibyl_runtime.extraction.part import Part, Refused

Parser = Callable[[BinaryIO], Iterator[Part]]


class OutOfTime(BaseException):
    """No Exception: a parser that carries on after any error must not carry on after this one."""


def main() -> None:
    """Serve until stdin ends, or until a limit is reached: after that, this process is not to be trusted."""
    memory = int(sys.argv[1])
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as for the process that started this one
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGXCPU, _out_of_time)
    with contextlib.suppress(ValueError, OSError):  # macOS knows this limit and does not take it
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        file = io.BytesIO(sys.stdin.buffer.read(request["size"]))
        reply = _answer(_parser(request["kind"]), file, request["seconds"], memory)
        _write(reply)
        if reply.get("last"):
            return


def _parser(kind: str) -> Parser:
    # Each is imported where it is used: a folder of HTML needs no pypdf.
    if kind == "pdf":
        from sibyl_runtime.extraction.pdf import pages

        return pages
    from sibyl_runtime.extraction.html import page

    return page


def _answer(parser: Parser, file: BinaryIO, seconds: int, memory: int) -> Mapping[str, Any]:
    try:
        _allow(seconds)
        for part in parser(file):
            _write({"part": dataclasses.asdict(part)})
    except Refused as error:
        return {"refused": str(error)}
    except OutOfTime:
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        return {"refused": f"it takes more than {seconds} seconds to read", "last": True}
    except MemoryError:
        return {"refused": f"it takes more than {memory // 2**20:,} MiB of memory to read", "last": True}
    except Exception as error:  # noqa: BLE001 - a parser's own failing is no more than one file left out
        return {"refused": f"it cannot be read: {type(error).__name__}: {str(error)[:200]}"}
    return {"end": True}


def _allow(seconds: int) -> None:
    """Processor time from now on: waiting for a reader that is busy costs nothing."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds, hard))


def _out_of_time(*_: object) -> None:
    raise OutOfTime


def _write(reply: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
