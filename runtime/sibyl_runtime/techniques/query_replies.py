"""Reads what a language model answers when it is asked for queries: a JSON list of texts, or one text a line.

Strict, because a query that is no query finds chunks that answer nothing: what does not have one of the two forms is
refused, and the question is searched for as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

LONGEST_QUERY = 500
LONGEST_PASSAGE = 8_000
"""In characters."""

_FENCE = re.compile(r"\A```\w*\n(.*?)\n?```\Z", re.DOTALL)
_BULLET = re.compile(r"\A(?:[-*•]|\(?\d{1,2}[.):])\s+")
_QUOTES = (('"', '"'), ("'", "'"), ("“", "”"), ("`", "`"))


class UnreadableReply(ValueError):
    """The reply holds no queries in either form; the message says what is wrong with it."""


def queries(reply: str, most: int) -> list[str]:
    """The first `most` queries of a reply, each once, whatever their case. Raises UnreadableReply."""
    found = distinct(map(_query, _listed(reply)))
    if not found:
        raise UnreadableReply("holds no query")
    return found[:most]


def single_query(reply: str) -> str:
    """The one query of a reply. Raises UnreadableReply, also for several: which of them is meant nobody can tell."""
    found = queries(reply, 2)
    if len(found) > 1:
        raise UnreadableReply("holds several queries where one was asked for")
    return found[0]


def passage(reply: str) -> str:
    """The passage of a reply: all of it. Raises UnreadableReply."""
    text = _unfenced(reply)
    _check_storable(text)
    if not text:
        raise UnreadableReply("holds no text")
    return text[:LONGEST_PASSAGE].rstrip()


def distinct(texts: Iterable[str], *, but: Iterable[str] = ()) -> list[str]:
    """The texts in their order, each once and none of `but`; case and white space make no difference."""
    seen = {_folded(text) for text in but}
    kept: list[str] = []
    for text in texts:
        if _folded(text) not in seen:
            seen.add(_folded(text))
            kept.append(text)
    return kept


def _listed(reply: str) -> list[str]:
    text = _unfenced(reply)
    if not text.startswith(("[", "{")):
        return _lines(text)
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableReply("begins like JSON and is none") from None
    if not isinstance(read, list) or not all(isinstance(item, str) for item in read):
        raise UnreadableReply("is JSON, but no list of texts")
    return [item.strip() for item in read if item.strip()]


def _lines(text: str) -> list[str]:
    """Each line without its bullet or number. A line that ends with a colon introduces what follows."""
    lines = (_BULLET.sub("", line.strip()) for line in text.splitlines())
    return [_unquoted(line) for line in lines if line and not line.endswith(":")]


def _query(text: str) -> str:
    """White space in one form. Raises UnreadableReply for a text that is too long, or that no database can hold."""
    _check_storable(text)
    if len(text) > LONGEST_QUERY:
        raise UnreadableReply(f"holds a query of {len(text):,} characters; at most {LONGEST_QUERY} are taken")
    return " ".join(text.split())


def _check_storable(text: str) -> None:
    if "\0" in text:
        raise UnreadableReply("holds the character NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnreadableReply("is not valid Unicode text") from None


def _unfenced(reply: str) -> str:
    text = reply.strip()
    fenced = _FENCE.match(text)
    return fenced[1].strip() if fenced else text


def _unquoted(text: str) -> str:
    for opening, closing in _QUOTES:
        if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
            return text[1:-1].strip()
    return text


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
