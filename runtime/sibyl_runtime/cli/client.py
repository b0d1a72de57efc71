"""Asks a running server, with nothing but the standard library: `sibyl query --url` must start fast."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from sibyl_runtime.errors import InvalidParameters, NotFound, SibylError, StartupError, Unauthorized

_BY_STATUS: Mapping[int, type[SibylError]] = {400: InvalidParameters, 401: Unauthorized, 404: NotFound}


def call_tool(
    url: str, tool: str, arguments: Mapping[str, Any], *, api_key: str | None, header: str, timeout: float
) -> dict[str, Any]:
    """The server's reply {output, metadata}. `timeout` in seconds.

    Raises StartupError when the server cannot be reached or fails, and the server's own error when it refuses.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidParameters(f'"{url}" is not the address of a server; write http://HOST:PORT')
    headers = {"Content-Type": "application/json"} | ({header: api_key} if api_key else {})
    request = Request(f"{url.rstrip('/')}/mcp/tools/{quote(tool)}", json.dumps(arguments).encode(), headers)
    try:
        with urlopen(request, timeout=timeout) as response:
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


def _refusal(url: str, error: HTTPError) -> SibylError:
    try:
        message = json.load(error)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"{url} answered {error.code} {error.reason}"
    return _BY_STATUS.get(error.code, StartupError)(message)
