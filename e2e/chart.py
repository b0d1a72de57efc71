"""Render and install the Helm chart. `python -m e2e.chart` writes `manifests/install.yaml` and what tests compare."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.cluster.binaries import ensure_tool
from e2e.programs import ROOT

CHART: Final = ROOT / "charts" / "sibyl-operator"
INSTALL_FILE: Final = "manifests/install.yaml"
CASES: Final = "tests/chart/values"
RENDERED: Final = "tests/chart/rendered"
RELEASE: Final = "sibyl-operator"
NAMESPACE: Final = "sibyl-system"
HEADER: Final = "# The Helm chart, rendered by `make generate`; do not edit.\n"


Completed = subprocess.CompletedProcess[str]


class ChartError(Exception):
    """Helm refused to render; the message is Helm's own."""


def helm(*arguments: str | Path, values: Mapping[str, Any] | None = None, check: bool = True) -> Completed:
    """Run Helm; `values` go to its standard input, for `--values -`. Raises ChartError where `check` and it fails.

    A person's own Helm settings, plugins and kubeconfig change nothing: name a cluster with `--kubeconfig`.
    """
    with tempfile.TemporaryDirectory(prefix="sibyl-helm-") as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        homes = {f"HELM_{kind}_HOME": str(Path(home) / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [ensure_tool("helm"), *arguments],
            input=json.dumps(values or {}),
            env={**kept, **homes},
            capture_output=True,
            text=True,
            check=False,
        )
    if check and done.returncode != 0:
        raise ChartError(done.stderr.strip())
    return done


def render_text(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    chart: Path = CHART,
    options: Sequence[str] = (),
) -> str:
    """What `helm template` prints, without a cluster. Raises ChartError, BuildError."""
    arguments: tuple[str | Path, ...] = (
        "template",
        release,
        chart,
        "--namespace",
        namespace,
        "--values",
        "-",
        *options,
    )
    return helm(*arguments, values=values).stdout


def render(values: Mapping[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
    """The rendered objects; options as those of `render_text`."""
    return [manifest for manifest in yaml.safe_load_all(render_text(values, **options)) if manifest]


def rendered_files(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Every file that is the rendered chart, and its text.

    `manifests/install.yaml` is the chart with its defaults, and with the namespace that `kubectl apply` would not make.
    """
    options = ["--skip-tests"]
    yield root / INSTALL_FILE, HEADER + render_text({"namespace": {"create": True}}, options=options)
    for values in sorted((root / CASES).glob("*.yaml")):
        yield root / RENDERED / values.name, HEADER + render_text(yaml.safe_load(values.read_text()))


if __name__ == "__main__":
    for path, text in rendered_files():
        if not path.is_file() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"{path.relative_to(ROOT)} changed")
