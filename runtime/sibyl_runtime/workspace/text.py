"""Kinds of text that the document uses in many places: names, and text that must not be empty.

A text that refers to the environment passes: what it will hold is judged where the environment is known.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from sibyl_runtime.workspace.references import references_of_kind

_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")
_IDENTIFIER = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")
_COLLECTION = re.compile(r"^[a-z_][a-z0-9_]{0,40}$")
_HEADER = re.compile(r"^[A-Za-z0-9-]{1,64}$")
_HOST = re.compile(r"^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9_])?$|^\[[0-9A-Fa-f:.]+\]$")
_ORIGIN = re.compile(r"^https?://([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$")
_WINDOW = re.compile(r"^[1-9][0-9]{0,5}(s|m|h|d)$")


def refers_to_environment(text: str) -> bool:
    """True when `text` holds a `${VAR}` that is not resolved yet."""
    return bool(references_of_kind("environment", text))


def is_identifier(text: str) -> bool:
    """True when `text` can name a step or a parameter, so that a reference can mean it."""
    return _IDENTIFIER.match(text) is not None


def _matching(pattern: re.Pattern[str], allowed: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.match(text) and not refers_to_environment(text):
            raise PydanticCustomError("text_rule", "must be {allowed}", {"allowed": allowed})
        return text

    return AfterValidator(check)


def _filled(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("text_rule", "must be {allowed}", {"allowed": "text that is not empty"})
    return text


Text = Annotated[str, AfterValidator(_filled)]
Name = Annotated[str, _matching(_NAME, "a letter, then letters, digits, _ or - (63 at most)")]
Identifier = Annotated[str, _matching(_IDENTIFIER, "lower-case letters, digits and _ (63 at most), no digit first")]
CollectionName = Annotated[str, _matching(_COLLECTION, "lower-case letters, digits and _ (41 at most), no digit first")]
HeaderName = Annotated[str, _matching(_HEADER, "letters, digits and - (64 at most)")]
Window = Annotated[str, _matching(_WINDOW, "a whole number and one of s, m, h, d, such as 5m")]
HostName = Annotated[str, _matching(_HOST, "a host name without port, such as docs.example.com or *.example.com")]
Origin = Annotated[str, _matching(_ORIGIN, "scheme, host and port of a page, such as https://app.example.com")]
