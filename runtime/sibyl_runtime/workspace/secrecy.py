"""Which values of a document may be secrets, judged by their names: asked before anything is printed or published."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

REDACTED: Final = "[redacted]"

_SECRET_NAME = re.compile(
    r"(^|_)(api_?keys?|keys?|key_metadata|secrets?|passw(or)?d|pwd|token|credentials?|authorization)$", re.IGNORECASE
)
_ADDRESS_NAME = re.compile(r"(^|_)(dsn|endpoint|url|uri|connection_string)$", re.IGNORECASE)


_URL_PASSWORD = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:]*:)(?P<secret>\S+)(?=@)")
_WEB_ADDRESS = re.compile(
    r"(?P<scheme>https?://)(?P<user>[^/?#\s]*@)?(?P<place>[^?#\s]*)(?P<rest>[?#].*)?", re.IGNORECASE
)
_ASSIGNED_PASSWORD = re.compile(
    r"(?P<head>\w*(?:password|passwd|pwd|secret|token|api_?key)\s*=\s*)(?P<secret>'(?:[^'\\]|\\.)*'|[^\s&]+)",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """True when a value of this name is a secret as a whole."""
    return _SECRET_NAME.search(name) is not None


def is_address_name(name: str) -> bool:
    """True when a value of this name is an address, which may hold a password."""
    return _ADDRESS_NAME.search(name) is not None


def may_hold_secret(location: Sequence[str | int]) -> bool:
    """True when the value at this place must not appear in a message."""
    names = [part for part in location if isinstance(part, str)]
    return bool(names) and (is_secret_name(names[-1]) or is_address_name(names[-1]))


def without_passwords(text: str, hide: Callable[[str], str] = lambda _: REDACTED, *, is_address: bool = False) -> str:
    """`text` with the passwords of the addresses in it replaced by what `hide` makes of them.

    `is_address`: the text is an address whatever it looks like, such as `host=db password=...`.
    """
    shown = _URL_PASSWORD.sub(lambda match: match["head"] + hide(match["secret"]), text)
    if is_address or "://" in text:
        shown = _ASSIGNED_PASSWORD.sub(lambda match: match["head"] + hide(match["secret"]), shown)
    return shown


def without_web_secrets(address: str) -> str:
    """`address` without what an address of the web may hold a key in: the part before @, and all after ? or #."""

    def cut(match: re.Match[str]) -> str:
        user = f"{REDACTED}@" if match["user"] else ""
        rest = f"{match['rest'][0]}{REDACTED}" if match["rest"] else ""
        return f"{match['scheme']}{user}{match['place']}{rest}"

    return _WEB_ADDRESS.sub(cut, address)
