"""The FAISS indexes that `index_type` can name: the part of FAISS's own notation that holds up under deletions.

Product quantisation is left out: it loses more than a filter or a threshold can bear, and depends on the dimension.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_NOTATION = re.compile(
    r"(?:IVF(?P<cells>[1-9][0-9]*),|HNSW(?P<links>[1-9][0-9]*)(?:,|$))?(?P<storage>Flat|SQ8|SQfp16)?"
)
_POINTS_A_CELL = 39
_POINTS_OF_A_SCALE = 256
MOST_CELLS = 65_536
LINKS = (4, 128)
ALLOWED = (
    f"auto, Flat, SQ8, SQfp16, IVF<1-{MOST_CELLS}>,Flat (or ,SQ8 or ,SQfp16), HNSW<{LINKS[0]}-{LINKS[1]}> "
    "(or with ,Flat, ,SQ8 or ,SQfp16)"
)


@dataclass(frozen=True)
class FaissType:
    """One index: how it searches, with how many `cells` or `links`, and how it keeps the vectors."""

    family: Literal["Flat", "IVF", "HNSW"]
    storage: str
    cells: int = 0
    links: int = 0

    @property
    def factory(self) -> str:
        """What FAISS's `index_factory` takes."""
        prefix = {"Flat": "", "IVF": f"IVF{self.cells},", "HNSW": f"HNSW{self.links},"}[self.family]
        return prefix + self.storage

    @property
    def trained_from(self) -> int:
        """Vectors that there must be before the index can be made: FAISS asks for 39 a cell. 0: it needs none."""
        scales = _POINTS_OF_A_SCALE if self.storage == "SQ8" else 0
        return max(_POINTS_A_CELL * self.cells, scales)


EXHAUSTIVE = FaissType("Flat", "Flat")
"""Compares the question with every vector: what `auto` means, and what stands in until there is enough to train on."""


def parse_faiss_type(text: str) -> FaissType | None:
    """The index that `text` names; None when it names none that is allowed."""
    if text == "auto":
        return EXHAUSTIVE
    found = _NOTATION.fullmatch(text)
    if found is None or not text or text.endswith(","):
        return None
    storage = found["storage"] or "Flat"
    if found["cells"] is not None:
        cells = int(found["cells"])
        return FaissType("IVF", storage, cells=cells) if found["storage"] and cells <= MOST_CELLS else None
    if found["links"] is not None:
        links = int(found["links"])
        return FaissType("HNSW", storage, links=links) if LINKS[0] <= links <= LINKS[1] else None
    return FaissType("Flat", storage)
