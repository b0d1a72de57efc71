"""One document, one hash, and a copy that may be shown: what the operator and the runtime compare and publish."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from sibyl_runtime.workspace.secrecy import (
    REDACTED,
    is_address_name,
    is_secret_name,
    without_passwords,
    without_web_secrets,
)

_REFERENCE = re.compile(r"(?<!\$)\$\{(?P<name>[A-Z_][A-Z0-9_]*)(?P<default>:-[^}]*)?\}")
_MAPS_OF_NAMES = frozenset({"parameters", "properties"})


def effective_hash(raw: Mapping[str, Any]) -> str:
    """`v1-` and 12 hexadecimal digits: equal for documents that say the same, whatever the order of their keys.

    Taken of the document as written: references to the environment count, what they resolve to does not. A whole
    number and the same number with a fraction of zero are one value, as JSON does not tell them apart.
    """
    text = json.dumps(_canonical(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"v1-{hashlib.sha256(text.encode('ascii')).hexdigest()[:12]}"


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def redact(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the document without its secrets: keys, passwords, and the passwords within addresses.

    References to the environment stay readable; their defaults do not where they stand for a secret.
    """
    return {str(key): _redacted(value, str(key)) for key, value in raw.items()}


def _redacted(value: Any, name: str, *, names_are_free: bool = False) -> Any:
    """`names_are_free`: the keys of this mapping are the user's names for parameters, and say nothing of secrets."""
    if is_secret_name(name):
        return _hidden(value)
    if isinstance(value, Mapping):
        if names_are_free:
            return {str(key): _redacted_parameter(inner, str(key)) for key, inner in value.items()}
        return {
            str(key): _redacted(inner, str(key), names_are_free=key in _MAPS_OF_NAMES) for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(inner, name) for inner in value]
    if not isinstance(value, str):
        return value
    shown = _REFERENCE.sub(_without_default, without_passwords(value, _hidden_text, is_address=is_address_name(name)))
    return without_web_secrets(shown) if is_address_name(name) else shown


def _redacted_parameter(parameter: Any, name: str) -> Any:
    """A parameter may be called `token` and hold none; its default and allowed values are another matter."""
    if not is_secret_name(name) or not isinstance(parameter, Mapping):
        return _redacted(parameter, "")
    return {
        str(key): _hidden(inner) if key in ("default", "enum") else _redacted(inner, str(key))
        for key, inner in parameter.items()
    }


def _hidden(value: Any) -> Any:
    # `allow_credentials: true` is a setting, and no word of it is a secret.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, list | tuple):
        return [_hidden(inner) for inner in value]
    return _hidden_text(value) if isinstance(value, str) else REDACTED


def _hidden_text(text: str) -> str:
    """References, with their defaults hidden, when `text` is nothing else; `[redacted]` when it holds more."""
    if not text or _REFERENCE.sub("", text).strip():
        return REDACTED
    return _REFERENCE.sub(lambda match: _without_default(match, always=True), text)


def _without_default(match: re.Match[str], *, always: bool = False) -> str:
    if match["default"] is None or not (always or is_secret_name(match["name"])):
        return match[0]
    return f"${{{match['name']}:-{REDACTED}}}"
