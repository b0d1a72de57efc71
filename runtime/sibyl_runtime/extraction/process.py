"""The end of the reading process that the rest of the runtime sees: started when needed, replaced after a limit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import IO, Any, BinaryIO, Self

from sibyl_runtime.extraction.part import Kind, Part, Refused

MOST_MEMORY = 1024 * 1024 * 1024
"""Address space of the reading process, in bytes."""

MOST_SECONDS: Mapping[Kind, int] = MappingProxyType({"html": 120, "pdf": 300})
"""Processor time for one file: 50 MiB of HTML take a third of it, a thousand pages of text a hundredth."""

_BLOCK = 1024 * 1024
_GONE = "the process that read it ended without a word; it was started anew for the next file"


class Extractor:
    """Reads one file after the other, for one thread. A context: the process ends with it, and with this process.

    `seconds` of processor time are allowed for one file, and `memory` bytes at any time.
    """

    def __init__(self, *, seconds: Mapping[Kind, int] = MOST_SECONDS, memory: int = MOST_MEMORY) -> None:
        self._seconds = seconds
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def parts(self, kind: Kind, file: BinaryIO, size: int) -> Iterator[Part]:
        """The parts of `file`, of which `size` bytes are read; HTML must be UTF-8. Raises Refused with the reason."""
        finished = False
        try:
            requests, replies = self._pipes()
            requests.write(json.dumps({"kind": kind, "size": size, "seconds": self._seconds[kind]}).encode() + b"\n")
            _copy(file, requests, size)
            requests.flush()
            for line in iter(replies.readline, b""):
                reply = json.loads(line)
                if "part" not in reply:
                    finished = not reply.get("last", False)
                    _end(reply)
                    return
                yield Part(**reply["part"])
            raise Refused(_GONE)
        except BrokenPipeError as error:
            raise Refused(_GONE) from error
        finally:
            # What was asked and not heard to its end would be taken for the answer to the next question.
            if not finished:
                self.close()

    def close(self) -> None:
        """End the process, whatever it is at."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "sibyl_runtime.extraction", str(self._memory)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


def _copy(file: BinaryIO, requests: IO[bytes], size: int) -> None:
    while size:
        block = file.read(min(size, _BLOCK))
        if not block:
            raise Refused("it became shorter while it was read")
        requests.write(block)
        size -= len(block)


def _end(reply: dict[str, Any]) -> None:
    if "refused" in reply:
        raise Refused(reply["refused"])
