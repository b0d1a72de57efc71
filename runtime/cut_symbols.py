"""Cuts debug information and symbol tables off the shared libraries of an image: `python cut_symbols.py DIRECTORY`.

What the loader maps is named by a library's segments. Behind the last of them lies what only debuggers and linkers
read, in some wheels most of the file. The same as `strip` for these files, without binutils, which the base of an image
need not have.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
HEADER_BYTES = 64


def cut(library: Path) -> int:
    """Cut one file behind its last segment. The bytes saved; 0, and the file as it was, for anything but ELF64."""
    content = bytearray(library.read_bytes())
    if not content.startswith(ELF64_LITTLE_ENDIAN) or len(content) < HEADER_BYTES:
        return 0
    (segments_at,) = struct.unpack_from("<Q", content, 32)
    entry_bytes, count = struct.unpack_from("<HH", content, 54)
    end: int = segments_at + entry_bytes * count
    for number in range(count):
        entry = segments_at + entry_bytes * number
        (offset,) = struct.unpack_from("<Q", content, entry + 8)
        (size,) = struct.unpack_from("<Q", content, entry + 32)
        end = max(end, offset + size)
    if end >= len(content):
        return 0
    # The table of sections lay behind the end, so the header must no longer point to it.
    struct.pack_into("<Q", content, 40, 0)
    struct.pack_into("<HH", content, 60, 0, 0)
    library.write_bytes(content[:end])
    return len(content) - end


def main() -> None:
    """Cut every shared library below the directory, and print what that saved."""
    saved = sum(cut(path) for path in sorted(Path(sys.argv[1]).rglob("*.so*")) if path.is_file())
    print(f"cut {saved / 1_000_000:.1f} MB of symbols")


if __name__ == "__main__":
    main()
