"""The chains that Kubernetes and the network programs make: find them, and write what takes them away again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise

_PREFIXES = ("KUBE-", "CNI-")


def cluster_chains(saved: str) -> dict[str, list[str]]:
    """The KUBE-* and CNI-* chains by table, from the output of `iptables-save`."""
    found: dict[str, list[str]] = {}
    for table, line in _lines(saved):
        name = line[1:].split(" ", 1)[0]
        if line.startswith(":") and name.startswith(_PREFIXES):
            found.setdefault(table, []).append(name)
    return found


def removal(saved: str, keep: Collection[str] = ()) -> str:
    """Input of `iptables-restore --noflush` that removes these chains and every rule that leads to one.

    `keep` holds `TABLE CHAIN` of those that stay. Empty where there is nothing to remove.
    """
    parts = []
    for table, names in cluster_chains(saved).items():
        ours = [name for name in names if f"{table} {name}" not in keep]
        if ours:
            parts.append("\n".join(_table_removal(saved, table, ours)) + "\n")
    return "".join(parts)


def _table_removal(saved: str, table: str, ours: list[str]) -> Iterator[str]:
    yield f"*{table}"
    # Declaring a chain empties it; only then can one be deleted that others lead to.
    yield from (f":{name} - [0:0]" for name in ours)
    for rule_table, line in _lines(saved):
        words = line.split()
        if rule_table == table and line.startswith("-A ") and words[1] not in ours and _target(words) in ours:
            yield f"-D {line[3:]}"
    yield from (f"-X {name}" for name in ours)
    yield "COMMIT"


def _target(words: list[str]) -> str | None:
    for option, value in pairwise(words):
        if option in ("-j", "-g"):
            return value
    return None


def _lines(saved: str) -> Iterator[tuple[str, str]]:
    """Each line with the table that it is in."""
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif table and line.startswith((":", "-A ")):
            yield table, line
