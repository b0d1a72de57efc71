"""`python -m bench`: every figure, one programme after the other, each in a process of its own.

Run: python -m bench [--json] [serve|embedding|chunking|store|reranking|runtime ...].
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

PROGRAMMES = ("serve", "embedding", "chunking", "store", "reranking", "runtime")
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run the programmes asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programmes", nargs="*", choices=[*PROGRAMMES, []], metavar="|".join(PROGRAMMES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = {}
    for name in options.programmes or PROGRAMMES:
        command = [sys.executable, "-m", f"bench.{name}"]
        if options.json:
            done = subprocess.run([*command, "--json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
            figures[name] = json.loads(done.stdout)
        else:
            print(f"--- {name}", flush=True)
            subprocess.run(command, cwd=ROOT, check=True)
    if options.json:
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
