"""Asks a running server, with nothing but the standard library: `sibyl query --url` must start fast."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from sibyl_runtime.errors import InvalidParameters, NotFound, SibylError, StartupError, Unauthorized

_BY_STATUS: Mapping[int, type[SibylError]] = {400: InvalidParameters, 401: Unauthorized, 404: NotFound}


def call_tool(
    url: str, tool: str, arguments: Mapping[str, Any], *, api_key: str | None, header: str, timeout: float
) -> dict[str, Any]:
    """The server's reply {output, metadata}. `timeout` in seconds.

    Raises StartupError when the server cannot be reached or fails, and the server's own error when it refuses.
    """
    check_server(url, api_key)
    headers = {"Content-Type": "application/json"} | ({header: api_key} if api_key else {})
    request = Request(f"{url.rstrip('/')}/mcp/tools/{quote(tool)}", json.dumps(arguments).encode(), headers)
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            reply = json.load(response)
    except HTTPError as error:
        raise _refusal(url, error) from None
    except (URLError, TimeoutError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise StartupError(f"cannot reach {url}: {reason}; is `sibyl serve` running there?") from None
    except ValueError:
        raise StartupError(f"{url} does not answer as a Sibyl server: the reply is not JSON") from None
    if not isinstance(reply, dict) or "output" not in reply:
        raise StartupError(f"{url} does not answer as a Sibyl server: the reply has no output")
    return reply


class _NoRedirect(HTTPRedirectHandler):
    """A key is for the server that was named, and for no other."""

    def redirect_request(self, *_: Any) -> None:
        """None has the answer itself, a redirect, told as an error."""


_OPENER = build_opener(_NoRedirect)


def check_server(url: str, api_key: str | None = None) -> None:
    """Raises InvalidParameters for what is no address of a server, and for a key that no header can hold."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidParameters(f'"{url}" is not the address of a server; write http://HOST:PORT')
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise InvalidParameters("the API key holds a character that no key has, such as a line break; check --api-key")


def _refusal(url: str, error: HTTPError) -> SibylError:
    try:
        message = json.load(error)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        elsewhere = error.headers.get("Location")
        hint = f"; it points to {elsewhere}: give that address" if elsewhere else ""
        message = f"{url} answered {error.code} {error.reason}{hint}"
    return _BY_STATUS.get(error.code, StartupError)(message)
