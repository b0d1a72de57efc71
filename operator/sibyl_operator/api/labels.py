"""A workspace's name as labels and as the names of children may hold it.

A workspace may be named anything the API allows: up to 253 characters, with dots, a digit first. A Service may not: 63
characters, no dot, a letter first. So a name that does not fit is shortened, and a hash of the whole keeps it unique.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

LONGEST: Final = 63
HASH_LENGTH: Final = 8
# A StatefulSet labels its pods with its own name and a hash of eleven characters, and a label holds 63.
LONGEST_STATEFUL_SET: Final = 52

_SERVICE_NAME: Final = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")


def label_value(workspace: str) -> str:
    """The name unchanged up to 63 characters, else shortened with a hash of the whole."""
    if len(workspace) <= LONGEST:
        return workspace
    return f"{workspace[: LONGEST - HASH_LENGTH - 1].rstrip('-.')}-{short_hash(workspace)}"


def child_name(workspace: str, suffix: str, *, longest: int = LONGEST) -> str:
    """`<workspace>-<suffix>`, valid as the name of every kind of child; at most `longest` characters."""
    ending = f"-{suffix}"
    if len(workspace) + len(ending) <= longest and _SERVICE_NAME.match(workspace):
        return f"{workspace}{ending}"
    room = longest - len(ending) - HASH_LENGTH - 1
    readable = workspace.replace(".", "-")
    if not readable[0].isalpha():
        readable = f"w-{readable}"
    return f"{readable[:room].rstrip('-')}-{short_hash(workspace)}{ending}"


def short_hash(name: str) -> str:
    """Eight hexadecimal digits that tell names apart which look alike once they are shortened."""
    return hashlib.sha256(name.encode()).hexdigest()[:HASH_LENGTH]
