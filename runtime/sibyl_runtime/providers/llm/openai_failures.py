"""Turns what can go wrong between here and an OpenAI-compatible server into this project's errors.

Messages name the provider's key in the workspace, the model, what happened and what to change. They never hold the
API key: of a refused key not even the server's own words are shown, since servers quote it.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2
import openai

from sibyl_runtime.errors import DeadlineExceeded, Overloaded, ProviderError, SibylError

logger = logging.getLogger("sibyl.providers")
STAGE = "generate"
QUOTA_EXHAUSTED = "insufficient_quota"

_LONGEST_QUOTE = 300
_HIDDEN = "[redacted]"
_TRANSIENT = frozenset({408, 429})


@dataclass(frozen=True)
class Identity:
    """Whom a message is about. `api_key` is here to be removed from what is quoted, never to be shown."""

    name: str
    model: str
    base_url: str
    api_key: str
    kind: str = "llm"
    """Under which key of `providers` it stands."""
    stage: str = STAGE
    timeout: float | None = None
    """Its own longest wait, in seconds; None: not known here."""

    @property
    def field(self) -> str:
        """Its place in the workspace."""
        return f"providers.{self.kind}.{self.name}"

    @property
    def answer(self) -> str:
        """What it is asked for."""
        return "a chat completion" if self.kind == "llm" else "a list of vectors"

    @property
    def title(self) -> str:
        return f"provider {self.name} ({self.model})"

    @property
    def host(self) -> str:
        """Host and port of the server."""
        return urlsplit(self.base_url).netloc

    @property
    def length_parameter(self) -> str:
        """How the server calls the longest answer. OpenAI's newer models refuse the old name, other servers know it."""
        return "max_completion_tokens" if self.host == "api.openai.com" else "max_tokens"

    def error(self, message: str, status: int | None = None) -> ProviderError:
        """An error that callers may read: where the server is stands in the log, and nowhere in the message."""
        logger.warning("%s at %s: %s", self.title, self.host, message)
        details = {"provider": self.name, "model": self.model, "status": status}
        return ProviderError(f"{self.title}: {self.without_host(message)}", details=details)

    def without_host(self, text: str) -> str:
        """`text` without the name of the server, by which callers could learn what stands in the network."""
        names = {self.host, urlsplit(self.base_url).hostname or self.host}
        named = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if name)
        return re.sub(rf"(?<![\w.-])({named})(?![\w-])(:\d+)?", "its server", text) if named else text

    def without_key(self, text: str) -> str:
        return text.replace(self.api_key, _HIDDEN) if self.api_key else text


def is_transient(error: openai.APIError) -> bool:
    """Whether the same request may succeed soon. A timeout is not: it has used the time that the workspace allows."""
    if isinstance(error, openai.APITimeoutError):
        return _never_sent(error)
    if isinstance(error, openai.APIConnectionError):
        return True
    if not isinstance(error, openai.APIStatusError) or error.code == QUOTA_EXHAUSTED:
        return False
    return error.status_code in _TRANSIENT or error.status_code >= 500


def explain(error: openai.APIError, who: Identity, *, attempts: int, seconds: float) -> SibylError:
    """The error that a client and an operator can act on. `seconds` is how long the last attempt was allowed."""
    explained = _explained(error, who, attempts, seconds)
    explained.details["attempts"] = attempts
    return explained


def _explained(error: openai.APIError, who: Identity, attempts: int, seconds: float) -> SibylError:
    if isinstance(error, openai.APITimeoutError):
        return _timeout(error, who, seconds)
    if isinstance(error, openai.APIConnectionError):
        return who.error(
            f"{who.host} cannot be reached ({_cause(error)}){_after(attempts)}; check base_url and network"
        )
    if isinstance(error, openai.APIStatusError):
        return _status(error, who, attempts)
    return who.error(f"the answer is not {who.answer}; check base_url")


def deadline(who: Identity, seconds: float) -> DeadlineExceeded:
    details = {"stage": who.stage, "provider": who.name, "model": who.model}
    if who.timeout is None:
        advice = f"mcp.timeout and {who.field}.timeout"
    elif seconds < who.timeout:
        # Its own time was not the limit: to raise that would change nothing.
        advice = "mcp.timeout, the pipeline's timeout_s, or the timeout of the step that asked"
    else:
        advice = f"{who.field}.timeout"
    advice = f"try again, or raise {advice}"
    return DeadlineExceeded(f"{who.title}: no answer within {seconds:.1f} s; {advice}", details=details)


def retry_after(error: openai.APIError) -> float | None:
    """Seconds that the server asks to wait, as a number or until a date; None when it does not say."""
    if not isinstance(error, openai.APIStatusError):
        return None
    headers = error.response.headers
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / divisor
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return _until_date(headers.get("retry-after", ""), headers.get("date", ""))


def _until_date(asked: str, now: str) -> float | None:
    """Seconds from `now` to `asked`, both as HTTP writes dates; the server's own clock, or ours where it tells none."""
    try:
        until = parsedate_to_datetime(asked)
        since = parsedate_to_datetime(now) if now else datetime.now(UTC)
        return max(0.0, (until - since).total_seconds())
    except (TypeError, ValueError):  # not dates; or one of them without a zone
        return None


def _timeout(error: openai.APITimeoutError, who: Identity, seconds: float) -> SibylError:
    if isinstance(error.__cause__, httpx2.PoolTimeout):
        advice = f"raise {who.field}.max_connections, or send less" if who.kind == "llm" else "send less"
        return Overloaded(f"{who.title}: every connection is in use; {advice}", retry_after=1.0)
    if isinstance(error.__cause__, httpx2.ConnectTimeout):
        return who.error(f"{who.host} cannot be reached (no connection in time); check base_url and network")
    return deadline(who, seconds)


def _never_sent(error: openai.APITimeoutError) -> bool:
    return isinstance(error.__cause__, httpx2.ConnectTimeout)


def _status(error: openai.APIStatusError, who: Identity, attempts: int) -> SibylError:
    status = error.status_code
    if status in (401, 403):
        return who.error(f"{status}, the API key was refused; check {who.field}.api_key", status)
    if error.code == QUOTA_EXHAUSTED:
        return who.error(
            f"{status}, the quota of the account is used up; raise it, or use another {who.field}.api_key",
            status,
        )
    if status == 429:
        details = {"provider": who.name, "model": who.model, "status": status}
        wait = retry_after(error) or 1.0
        message = (
            f"{who.title}: 429, its rate limit is reached{_after(attempts)}; try again in {wait:g} s, or have the "
            "limit raised"
        )
        return Overloaded(message, details=details, retry_after=wait)
    if status == 404:
        return who.error(f"404, {who.host} knows no such model or path; check model and base_url", status)
    if status >= 500:
        return who.error(f"{status} from {who.host}{_after(attempts)}; try again, or look into that server", status)
    return who.error(f"{status}, the request was refused: {who.without_key(_words(error))}", status)


def _words(error: openai.APIStatusError) -> str:
    """What the server says in the field that the API reserves for it; a body of another shape is not quoted."""
    said = error.body.get("message") if isinstance(error.body, dict) else None
    return " ".join(str(said or "no reason given").split())[:_LONGEST_QUOTE]


def _after(attempts: int) -> str:
    return f" after {attempts} attempts" if attempts > 1 else ""


def _cause(error: BaseException) -> str:
    """The system's own word for a failed connection, from the bottom of the chain of causes."""
    reason, current = "connection lost", error.__cause__ or error.__context__
    while current is not None:
        if isinstance(current, OSError) and current.errno:
            # Name look-up has negative numbers, which only its own text explains.
            reason = os.strerror(current.errno) if current.errno > 0 else current.strerror or reason
        current = current.__cause__ or current.__context__
    return reason
