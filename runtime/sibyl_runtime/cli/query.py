"""`sibyl query`: one question, answered here or by a running server; the reply looks the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sibyl_runtime.cli.arguments import name_values
from sibyl_runtime.cli.output import answer_lines, print_json
from sibyl_runtime.cli.run import reported, run_async

REMOTE_TIMEOUT = 60.0
"""Seconds to wait for a server: more than the deadline that it keeps itself by default."""


@dataclass(frozen=True)
class Target:
    """Who answers: the workspace in `file`, or the server at `url`. `timeout` in seconds."""

    file: Path | None
    url: str | None
    api_key: str | None
    api_key_header: str
    timeout: float | None
    data_directory: Path | None


def query(
    target: Target, tool: str, question: str, *, top_k: int | None, filters: Sequence[str], as_json: bool
) -> None:
    """Ask and print. Ends the process with an ExitCode when there is no answer."""
    arguments: dict[str, Any] = {"query": question}
    if top_k is not None:
        arguments["top_k"] = top_k
    if filters:
        arguments["filters"] = name_values(filters, option="--filter")
    if target.url is not None:
        reply = _ask_server(target, target.url, tool, arguments)
    else:
        reply = run_async(lambda: _ask_here(target, tool, arguments))
    if as_json:
        print_json(reply)
    else:
        print("\n".join(answer_lines(reply)))


def _ask_server(target: Target, url: str, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    from sibyl_runtime.cli.client import call_tool

    with reported():
        return call_tool(
            url, tool, arguments,
            api_key=target.api_key, header=target.api_key_header, timeout=target.timeout or REMOTE_TIMEOUT,
        )  # fmt: skip
    raise AssertionError("unreachable: reported() ends the program")  # for the type checker


async def _ask_here(target: Target, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    from sibyl_runtime.cli.documents import read_document, settings_for
    from sibyl_runtime.cli.joining import joined
    from sibyl_runtime.pipeline.context import Deadline
    from sibyl_runtime.runtime import Runtime
    from sibyl_runtime.server.reply import reply

    assert target.file is not None
    settings = settings_for(target.data_directory)
    runtime = await Runtime.open(joined(read_document(target.file), settings, os.environ), os.environ, settings)
    try:
        deadline = Deadline.after(target.timeout or runtime.workspace.mcp.timeout)
        outcome = await runtime.call_tool(tool, arguments, deadline=deadline)
        return reply(tool, outcome, outcome.seconds, request_id=None)
    finally:
        await runtime.close()
