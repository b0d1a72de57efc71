"""What the scenarios read from beside the repository; it is never copied into it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from e2e.programs import ROOT

SHARED: Final = ROOT.parent / "shared"
GUIDE: Final = SHARED / "guide" / "000_952204980b706613.txt"
"""Holds the load script."""
SERVICE_MONITORS: Final = SHARED / "schemas" / "monitoring.coreos.com_servicemonitors.yaml"
"""The CRD of a kind that may vanish."""


def missing() -> list[Path]:
    """The files that are not there."""
    return [path for path in (GUIDE, SERVICE_MONITORS) if not path.is_file()]
