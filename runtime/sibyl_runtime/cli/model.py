"""`sibyl model export` and `sibyl model bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sibyl_runtime.cli.output import print_json, table
from sibyl_runtime.cli.run import reported
from sibyl_runtime.errors import StartupError

PRECISIONS = ("int8", "fp32")
MEASURE_MODULE = "sibyl_runtime.providers.embedding.measure"


def export(model: str, directory: Path, precisions: Sequence[str], *, as_json: bool) -> None:
    """Convert a model to a directory that the runtime serves, and say how near its graphs are to its weights."""
    with reported():
        from sibyl_runtime.providers.embedding.exporting import export_verified

        graphs = export_verified(model, directory, tuple(precisions) or PRECISIONS)
        if as_json:
            print_json({"directory": directory, "graphs": graphs})
            return
        rows = [("precision", "size", "mean cosine", "least cosine", "file")]
        for graph in graphs:
            size = f"{graph.bytes / 1_000_000:.1f} MB"
            rows.append(
                (graph.precision, size, f"{graph.mean_cosine:.6f}", f"{graph.least_cosine:.6f}", str(graph.path))
            )
        print("\n".join(table(rows)))


def bench(model: str, precisions: Sequence[str], texts: int, *, as_json: bool) -> None:
    """Time a model in each precision, in a process of its own, one after the other."""
    with reported():
        measured = [_measured(model, precision, texts) for precision in precisions or PRECISIONS]
        if as_json:
            print_json(measured)
            return
        rows = [("precision", "load", "query p50", "query p95", "texts/s", "tokens/s", "peak memory", "tag")]
        rows += [
            (
                figures["precision"], f"{figures['load_seconds']:.2f} s", f"{figures['query_p50_ms']:.2f} ms",
                f"{figures['query_p95_ms']:.2f} ms", f"{figures['texts_per_second']:.1f}",
                f"{figures['tokens_per_second']:.0f}", f"{figures['peak_mib']} MiB", figures["tag"],
            )
            for figures in measured
        ]  # fmt: skip
        print("\n".join(table(rows)))
        print(f"texts of {measured[0]['tokens_per_text']} tokens")


def _measured(model: str, precision: str, texts: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", MEASURE_MODULE, model, "--precision", precision, "--texts", str(texts)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        reason = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise StartupError(f"the {precision} model could not be measured: {reason}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
