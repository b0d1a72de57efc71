"""`sibyl key new` and `sibyl key hash`: API keys and the digests by which a server knows them."""

from __future__ import annotations

import hashlib
import re
import secrets
import sys
from typing import Any

import typer

PREFIX = "sk-sibyl-"
"""By which scanners of repositories and logs find a key that got lost."""
_NAME = re.compile(r"^[^\s#]{1,64}$")


def new(name: str | None, *, as_json: bool) -> None:
    """Print a new key and its digest. The key is shown this once and kept nowhere."""
    key = PREFIX + secrets.token_urlsafe(32)
    _print({"key": key, "digest": digest(key)}, name, as_json=as_json)


def hash_key(name: str | None, *, as_json: bool) -> None:
    """Print the digest of the key on standard input: an argument would be seen in the list of processes."""
    if sys.stdin.isatty():
        print("Key, then Enter:", file=sys.stderr)
    key = sys.stdin.readline().rstrip("\r\n")
    if not key.strip():
        raise typer.BadParameter("there is no key on standard input", param_hint="STDIN")
    if not sys.stdin.isatty() and sys.stdin.read().strip():
        raise typer.BadParameter("holds more than one line; a key is one line", param_hint="STDIN")
    _print({"digest": digest(key)}, name, as_json=as_json)


def digest(key: str) -> str:
    """`sha256:` and 64 hexadecimal digits."""
    try:
        return "sha256:" + hashlib.sha256(key.encode()).hexdigest()
    except UnicodeEncodeError:  # bytes of standard input that are no UTF-8
        raise typer.BadParameter(
            "holds bytes that are no text; a key is one line of text", param_hint="STDIN"
        ) from None


def _print(made: dict[str, Any], name: str | None, *, as_json: bool) -> None:
    if name is not None and not _NAME.match(name):
        raise typer.BadParameter("must be one word of 64 characters at most", param_hint="--name")
    if as_json:
        import orjson

        print(orjson.dumps(made | ({"name": name} if name else {})).decode())
        return
    if "key" in made:
        print(f"key     {made['key']}")
    line = f"{made['digest']} {name}" if name else made["digest"]
    print(f"digest  {line}" if "key" in made else line)
