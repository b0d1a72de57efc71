"""YAML as people read it: texts of several lines as blocks, no line broken in the middle, equal values equal text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import yaml

UNBROKEN: Final = 1_000_000
# Line breaks to YAML 1.1, which reads them back as others unless they are escaped.
FOREIGN_BREAKS: Final = frozenset("\r\x85\u2028\u2029")


class _Dumper(yaml.SafeDumper):
    """The safe dumper without aliases: a manifest must be readable from top to bottom."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if FOREIGN_BREAKS.intersection(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_multi_representer(str, _represent_text)


def dump(value: Any, *, sort_keys: bool = True) -> str:
    """One value as YAML text."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=sort_keys, allow_unicode=True, width=UNBROKEN)


def dump_all(values: Iterable[Any]) -> str:
    """Several documents, with the keys of each in the order in which they were written."""
    return "---\n".join(dump(value, sort_keys=False) for value in values)
