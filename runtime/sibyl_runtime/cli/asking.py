"""Asks judged questions: of a workspace opened here, or of a running server. Both give the documents in their order."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from sibyl_runtime.answering import outcome_of
from sibyl_runtime.cli.documents import read_document, settings_for
from sibyl_runtime.cli.joining import joined
from sibyl_runtime.cli.service import Service, ServiceClient
from sibyl_runtime.errors import InvalidParameters, SibylError, StartupError
from sibyl_runtime.evaluation import Answer, JudgedQuestions, Question
from sibyl_runtime.pipeline.context import Deadline
from sibyl_runtime.pipeline.engine import invalid_arguments
from sibyl_runtime.runtime import Runtime
from sibyl_runtime.workspace import ArgumentsInvalid, Tool, validate_arguments

IDS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Asking:
    """How every question is asked. `top_k` None leaves it to the tool; `timeout` in seconds, None: the workspace's."""

    tool: str
    top_k: int | None
    timeout: float | None
    data_directory: Path | None

    def arguments(self, question: str) -> dict[str, Any]:
        """The arguments of the call."""
        return {"query": question} | ({} if self.top_k is None else {"top_k": self.top_k})


class Asked(Protocol):
    """Somebody who answers."""

    async def ask(self, question: str) -> Answer:
        """The documents found, and how long it took. Raises SibylErrors."""

    async def known(self, documents: Iterable[str]) -> frozenset[str] | None:
        """Which of the documents the collection holds; None when that cannot be asked."""


@asynccontextmanager
async def opened(target: str, service: Service | None, asking: Asking) -> AsyncIterator[Asked]:
    """`target` as a workspace file, opened here, or as the address of a server when `service` says how to ask it."""
    if service is not None:
        asked = _Server(service, asking)
        async with asked.client:
            yield asked
        return
    settings = settings_for(asking.data_directory)
    runtime = await Runtime.open(joined(read_document(Path(target)), settings, os.environ), os.environ, settings)
    try:
        yield _Here(target, runtime, asking)
    finally:
        await runtime.close()


async def answers_of(questions: JudgedQuestions, asked: Mapping[str, Asked]) -> dict[str, list[Answer]]:
    """The answers of each target, in the order of the questions.

    Every question is asked of all of them before the next one, and who is asked first alternates: what the machine
    does meanwhile hits them alike. One is asked once before, unmeasured. Raises the error of a question that fails,
    with its line.
    """
    answers: dict[str, list[Answer]] = {name: [] for name in asked}
    for each in asked.values():
        await _answer(questions, questions.questions[0], each)
    order = list(asked)
    for question in questions.questions:
        for name in order:
            answers[name].append(await _answer(questions, question, asked[name]))
        order.reverse()
    return answers


async def _answer(questions: JudgedQuestions, question: Question, asked: Asked) -> Answer:
    try:
        return await asked.ask(question.text)
    except SibylError as error:
        raise type(error)(f"{questions.path}:{question.line}: {error.message}") from error


class _Here:
    """A runtime of this process. Its answer cache is passed by: what is judged and timed is the pipeline."""

    def __init__(self, name: str, runtime: Runtime, asking: Asking) -> None:
        self._runtime = runtime
        self._asking = asking
        self._tool = _find(name, runtime, asking.tool)
        if asking.top_k is not None and "top_k" not in self._tool.parameters:
            raise InvalidParameters(
                f"--top-k: tool `{asking.tool}` of {name} takes no top_k: a pipeline that is written takes it where it "
                "refers to ${top_k}"
            )

    async def ask(self, question: str) -> Answer:
        try:
            parameters = validate_arguments(self._tool, self._asking.arguments(question))
        except ArgumentsInvalid as error:
            raise invalid_arguments(error) from error
        deadline = Deadline.after(self._asking.timeout or self._runtime.workspace.mcp.timeout)
        started = time.perf_counter()
        result = await self._runtime.engine.run(self._tool.pipeline, parameters, deadline=deadline)
        seconds = time.perf_counter() - started
        return Answer(_documents(outcome_of(result, cache="off").output), seconds)

    async def known(self, documents: Iterable[str]) -> frozenset[str] | None:
        wanted = sorted(set(documents))
        found: set[str] = set()
        for start in range(0, len(wanted), IDS_AT_ONCE):
            found |= (await self._runtime.services.store.fingerprints(wanted[start : start + IDS_AT_ONCE])).keys()
        return frozenset(found)


class _Server:
    """A running server. An answer for which it let us wait (429, 503) counts, its time does not."""

    def __init__(self, service: Service, asking: Asking) -> None:
        self.client = ServiceClient(service, sleep=self._sleep)
        if asking.timeout is not None:
            self.client.wait_for(asking.timeout)
        self._asking = asking
        self._waited = False

    async def ask(self, question: str) -> Answer:
        self._waited = False
        body = orjson.dumps(self._asking.arguments(question))
        started = time.perf_counter()
        reply = await self.client.post(f"/mcp/tools/{quote(self._asking.tool)}", body)
        seconds = time.perf_counter() - started
        try:
            documents, cached = _documents(reply["output"]), reply["metadata"]["cache"] == "hit"
        except (KeyError, TypeError) as error:
            raise StartupError("the server does not answer as a Sibyl server: the reply names no sources") from error
        return Answer(documents, None if self._waited else seconds, cached)

    async def known(self, documents: Iterable[str]) -> frozenset[str] | None:
        return None

    async def _sleep(self, seconds: float) -> None:
        self._waited = True
        await asyncio.sleep(seconds)


def _find(file: str, runtime: Runtime, name: str) -> Tool:
    tools = runtime.workspace.effective_tools
    if name not in tools:
        raise InvalidParameters(f"{file}: there is no tool `{name}`; known: {', '.join(sorted(tools)) or 'none'}")
    return tools[name]


def _documents(output: Mapping[str, Any]) -> tuple[str, ...]:
    """Each document once, at the place of its best chunk."""
    sources: Sequence[Mapping[str, Any]] = output["sources"]
    return tuple(dict.fromkeys(str(source["document"]) for source in sources))
