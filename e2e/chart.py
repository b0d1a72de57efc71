"""Render the Helm chart. `python -m e2e.chart` writes `manifests/install.yaml`, which is nothing but the rendered chart."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.helm import ensure_helm
from e2e.programs import ROOT

CHART: Final = ROOT / "charts" / "sibyl-operator"
INSTALL_FILE: Final = ROOT / "manifests" / "install.yaml"
RELEASE: Final = "sibyl-operator"
NAMESPACE: Final = "sibyl-system"
HEADER: Final = "# The Helm chart, rendered by `make generate`; do not edit.\n"


class ChartError(Exception):
    """Helm refused to render; the message is Helm's own."""


def render_text(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    chart: Path = CHART,
    options: Sequence[str] = (),
) -> str:
    """What `helm template` prints, without a cluster. Raises ChartError, BuildError."""
    with tempfile.TemporaryDirectory(prefix="sibyl-helm-") as home:
        command = [ensure_helm(), "template", release, chart, "--namespace", namespace, "--values", "-", *options]
        done = subprocess.run(
            command,
            input=json.dumps(values or {}),
            env=helm_environment(Path(home)),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise ChartError(done.stderr.strip())
    return done.stdout


def render(values: Mapping[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
    """The rendered objects; options as those of `render_text`."""
    return [manifest for manifest in yaml.safe_load_all(render_text(values, **options)) if manifest]


def helm_environment(home: Path) -> dict[str, str]:
    """An environment in which a person's own Helm settings and plugins change nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
    return {**kept, **{f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}}


def install_text() -> str:
    """`manifests/install.yaml`: the chart with its defaults, and the namespace that `kubectl apply` would not make."""
    return HEADER + render_text({"namespace": {"create": True}}, options=["--skip-tests"])


if __name__ == "__main__":
    text = install_text()
    if not INSTALL_FILE.is_file() or INSTALL_FILE.read_text() != text:
        INSTALL_FILE.write_text(text)
        print(f"{INSTALL_FILE.relative_to(ROOT)} changed")
