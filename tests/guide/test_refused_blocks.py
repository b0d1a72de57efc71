"""What of the guide this version cannot do: such a block does not start, and the message names the key or value."""

from __future__ import annotations

import pytest

from sibyl_runtime.workspace import WorkspaceInvalid
from tests.guide.running import Place, block, with_guide
from tests.guide.table import Row, told_by

pytestmark = with_guide

REFUSED = (
    Row(
        109,
        2,
        sets="`model` all-MiniLM-L6-v2, `device` cuda",
        effect="The model itself is the default of every other test here. `tests/torch` covers `backend: torch` on "
        "the processor, and that a device which is not there is refused; no test here has a GPU.",
        refused=(
            'providers.embedding.default.device: "cuda" is not available in this version with backend onnx; '
            "available: cpu, or set backend: torch",
        ),
    ),
)


@told_by(*REFUSED)
@pytest.mark.parametrize("row", REFUSED, ids=lambda row: f"line {row.place}")
async def test_is_refused_by_name(place: Place, row: Row) -> None:
    with pytest.raises(WorkspaceInvalid) as caught:
        async with place.opened(place.document(block(row.line, row.part)), REDIS_URL="redis://localhost"):
            pass
    assert tuple(f"{problem.path}: {problem.message}" for problem in caught.value.problems) == row.refused
