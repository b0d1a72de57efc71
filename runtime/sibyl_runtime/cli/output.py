"""How results look on a terminal, and as JSON. The words of one kind of result are in one place."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

SHOWN_ANSWER_WIDTH = 100


def print_json(value: Any) -> None:
    """One JSON document on stdout. Dataclasses become objects; what JSON does not know becomes text."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(value, default=_as_json, option=options).decode() + "\n")


def answer_lines(reply: Mapping[str, Any]) -> list[str]:
    """A tool's reply for people: the answer, its sources with scores, where the time went."""
    output, metadata = reply["output"], reply["metadata"]
    lines = [output["answer"] or "(no answer)", ""]
    lines += [source_line(number, source) for number, source in enumerate(output["sources"], start=1)]
    if not output["sources"]:
        lines.append("no sources found: are documents ingested? (sibyl ingest -f FILE PATH)")
    return [shown(line) for line in [*lines, "", timing_line(metadata)]]


def shown(text: str) -> str:
    """Text of documents and models as it may go to a terminal: what would steer one stands as it is written."""
    return "".join(one if one.isprintable() or one in "\n\t" else repr(one)[1:-1] for one in text)


def source_line(number: int, source: Mapping[str, Any]) -> str:
    """`[1] docs/database.md § External  0.71`."""
    place = source.get("document") or source["title"]
    heading = f" § {source['heading']}" if source.get("heading") else ""
    return f"[{number}] {place}{heading}".replace("\n", "\\n") + f"  {source['score']:.2f}"


def timing_line(metadata: Mapping[str, Any]) -> str:
    """`embed 2.1 ms · retrieve 0.9 ms · generate 1.2 ms · total 5.0 ms · $0.00`."""
    parts = [f"{name.removesuffix('_ms')} {spent:.1f} ms" for name, spent in metadata["stages"].items()]
    if metadata["cache"] == "hit":
        parts.append(f"from the cache{_answered_for(metadata)}")
    parts.append(f"total {metadata['execution_time_ms']:.1f} ms")
    parts.append(cost(metadata["cost_usd"]))
    return " · ".join(parts)


def _answered_for(metadata: Mapping[str, Any]) -> str:
    if metadata.get("cache_kind") != "semantic":
        return ""
    return f", as answered for `{metadata['answered_question']}`, similarity {metadata['similarity']:.2f}"


def cost(dollars: float | None) -> str:
    """`$0.00`, more digits where they matter, or that the price is not known."""
    if dollars is None:
        return "cost not known"
    return f"${dollars:.2f}" if dollars == 0 or dollars >= 0.01 else f"${dollars:.6f}"


def plural(number: int, noun: str) -> str:
    """`1 document`, `2 documents`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seconds(value: float) -> str:
    """`8.4 s`."""
    return f"{value:.1f} s"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns aligned with spaces; the last one is left as long as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
