"""`python -m e2e.demo`: the main job in two acts over one file. Ctrl-C at any moment leaves nothing running."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path

from e2e.demo import cluster, laptop, screen
from e2e.programs import ROOT
from sibyl_runtime.store.embedded import EmbeddedPostgres

WORKSPACE = ROOT / "manifests" / "samples" / "quickstart.yaml"
INTERRUPTED = 130


def main() -> int:
    """Play both acts; the exit code."""
    # Also where a script that started it in the background had it ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    begin = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="sibyl-demo-", ignore_cleanup_errors=True) as directory:
            data, logs = Path(directory) / "data", Path(directory)
            laptop.play(WORKSPACE, data, logs)
            postgres = EmbeddedPostgres(data / "postgres", tcp=True)
            try:
                cluster.play(WORKSPACE, postgres)
            finally:
                postgres.stop()
    except KeyboardInterrupt:
        screen.console.print("\ninterrupted; nothing is left running")
        return INTERRUPTED
    screen.console.print(f"\nBoth acts took {time.monotonic() - begin:.0f} s. Next: docs/quickstart.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
