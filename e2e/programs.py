"""Where the programs under test are: the console scripts of the environment that runs this."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAMS = {name: Path(sys.executable).parent / name for name in ("sibyl", "sibyl-operator")}
