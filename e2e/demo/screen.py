"""How the demonstration speaks: short lines, each of them measured."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

console = Console(highlight=False, soft_wrap=True)


def act(number: int, title: str) -> None:
    """Open one of the two acts."""
    console.print(f"\n[bold]{number}. {escape(title)}[/bold]\n")


def fact(name: str, text: str) -> None:
    """One finished thing and its figures."""
    console.print(f"[green]●[/green] {name:<18} {escape(text)}")


def shell(command: str, output: str) -> None:
    """A command as the reader would type it, and what it printed."""
    console.print(f"[dim]$[/dim] [bold]{escape(command)}[/bold]")
    for line in output.rstrip().splitlines():
        console.print(f"  {escape(line)}")


def answer(question: str, body: Mapping[str, Any], elapsed: float) -> None:
    """A question, its answer, its sources and the time of each stage (milliseconds)."""
    output, metadata = body["output"], body["metadata"]
    console.print(f"[cyan]?[/cyan] [bold]{escape(question)}[/bold]")
    console.print(f"  {escape(_shortened(output['answer'] or 'no answer', 300))}")
    console.print(f"  [dim]{escape(_sources(output['sources'][:3]))}[/dim]")
    stages = " · ".join(f"{name.removesuffix('_ms')} {ms:.1f} ms" for name, ms in metadata["stages"].items())
    cost = "unknown" if metadata["cost_usd"] is None else f"${metadata['cost_usd']:.4f}"
    console.print(f"  [dim]{stages} · over HTTP {elapsed * 1000:.1f} ms · {cost}[/dim]\n")


@contextmanager
def timed(name: str, text: str) -> Iterator[list[str]]:
    """Print a fact when the block is done, with its seconds and what the block appended."""
    begin = time.monotonic()
    details: list[str] = []
    yield details
    fact(name, " · ".join([text, *details, f"{time.monotonic() - begin:.1f} s"]))


def _sources(sources: Sequence[Mapping[str, Any]]) -> str:
    return "   ".join(
        f"[{position}] {source['document']}{_heading(source)}  {source['score']:.2f}"
        for position, source in enumerate(sources, 1)
    )


def _heading(source: Mapping[str, Any]) -> str:
    heading = str(source.get("heading") or "").rpartition(" > ")[2]
    return f" § {heading}" if heading else ""


def _shortened(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 1].rsplit(' ', 1)[0]} …"
