"""Look at an installation from outside: does the operator answer, and does the API server serve its kind to us?

`helm test` runs this as a pod, under the operator's own account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import aiohttp

from sibyl_operator.api.group import CRD_NAME, KIND
from sibyl_operator.kube import KubeApi, KubeError
from sibyl_operator.kube.client import KubeClient
from sibyl_operator.kube.config import load_configuration

PAUSE: Final = 1.0
ANSWER_SECONDS: Final = 5.0
OWN_SERIES: Final = "sibyl_build_info"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `problem` is None when it is as it should be."""

    subject: str
    problem: str | None = None

    def __str__(self) -> str:
        return f"ok      {self.subject}" if self.problem is None else f"FAILED  {self.subject}: {self.problem}"


async def check(
    url: str, namespaces: Sequence[str], *, kubeconfig: str | None = None, timeout: float = 60.0
) -> tuple[Finding, ...]:
    """All findings, as soon as they are all good, or as they are after `timeout` seconds.

    `url` is the operator's health and metrics address; without `namespaces`, workspaces of all are listed.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout
    client = KubeClient(lambda: load_configuration(kubeconfig), timeout=ANSWER_SECONDS)
    async with AsyncExitStack() as stack:
        # Opened by its first request, so that bad credentials are a finding like any other.
        stack.push_async_exit(client)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        )
        while True:
            findings = await look(session, client, url.rstrip("/"), namespaces)
            remaining = deadline - clock()
            if all(finding.problem is None for finding in findings) or remaining <= 0:
                return findings
            await asyncio.sleep(min(PAUSE, remaining))


async def look(
    session: aiohttp.ClientSession, api: KubeApi, url: str, namespaces: Sequence[str]
) -> tuple[Finding, ...]:
    """Every finding, once."""
    return (
        await answers(session, f"{url}/readyz", ""),
        await answers(session, f"{url}/metrics", OWN_SERIES),
        *[await is_served(api, namespace) for namespace in namespaces or (None,)],
    )


async def answers(session: aiohttp.ClientSession, url: str, words: str) -> Finding:
    """The URL answers 200 with these words in it."""
    try:
        async with session.get(url) as response:
            text = await response.text(errors="replace")
    except (TimeoutError, aiohttp.ClientError) as error:
        return Finding(url, str(error) or type(error).__name__)
    if response.status != 200:
        return Finding(url, f"answered {response.status}: {text.strip()[:200]}")
    return Finding(url, None if words in text else f"answered, but without {words}: is this the operator's address?")


async def is_served(api: KubeApi, namespace: str | None) -> Finding:
    """The API server serves workspaces, and this account may list them."""
    subject = f"{CRD_NAME} in {namespace or 'all namespaces'}"
    try:
        await api.list(KIND, namespace)
    except KubeError as error:
        return Finding(subject, str(error))
    return Finding(subject)
