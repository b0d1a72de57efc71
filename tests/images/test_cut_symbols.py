"""Libraries of an image without their symbols: smaller, and they load and work as before."""

from __future__ import annotations

import importlib.util
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "runtime" / "cut_symbols.py"
RUN_A_LOOP = """
import sys; sys.path.insert(0, sys.argv[1])
import asyncio, uvloop
assert uvloop.__file__.startswith(sys.argv[1])
print(uvloop.run(asyncio.sleep(0, "it runs")))
"""


@pytest.fixture
def cut() -> Callable[[Path], int]:
    function: Callable[[Path], int] = runpy.run_path(str(PROGRAM))["cut"]
    return function


def test_a_library_without_symbols_is_smaller_and_runs(tmp_path: Path) -> None:
    found = importlib.util.find_spec("uvloop")
    assert found is not None
    assert found.origin is not None
    package = shutil.copytree(Path(found.origin).parent, tmp_path / "uvloop")
    (library,) = package.glob("loop.*.so")
    before = library.stat().st_size
    told = subprocess.run([sys.executable, PROGRAM, tmp_path], capture_output=True, text=True, check=True).stdout
    assert library.stat().st_size < before / 2
    assert told == f"cut {(before - library.stat().st_size) / 1_000_000:.1f} MB of symbols\n"
    ran = subprocess.run([sys.executable, "-c", RUN_A_LOOP, tmp_path], capture_output=True, text=True, check=True)
    assert ran.stdout == "it runs\n"


def test_what_was_cut_is_not_cut_again(tmp_path: Path, cut: Callable[[Path], int]) -> None:
    found = importlib.util.find_spec("yaml._yaml")
    assert found is not None
    assert found.origin is not None
    library = Path(shutil.copy(found.origin, tmp_path))
    assert cut(library) > 0
    once = library.read_bytes()
    assert cut(library) == 0
    assert library.read_bytes() == once


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x01\x01 32 bits", b"\x7fELF\x02\x01", b"GROUP ( libc.so.6 )\n"])
def test_anything_else_stays_as_it_is(tmp_path: Path, cut: Callable[[Path], int], content: bytes) -> None:
    file = tmp_path / "lib.so"
    file.write_bytes(content)
    assert cut(file) == 0
    assert file.read_bytes() == content
