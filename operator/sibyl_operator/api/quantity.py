"""Kubernetes quantities (`500m`, `384Mi`): kept as their text, compared by their value.

The API takes a whole number or a text; both are held as text here, so that one form is compared and rendered.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

PATTERN: Final = r"^[0-9]+(\.[0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
LONGEST: Final = 24

_PARTS: Final = re.compile(r"^(?P<number>[0-9.]+)(?P<suffix>[A-Za-z]*)$")
_FACTORS: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def _text(value: Any) -> Any:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or len(text) > LONGEST or not re.fullmatch(PATTERN, text):
        raise PydanticCustomError("form", "should be a quantity, such as 500m, 2 or 384Mi")
    return text


Quantity = Annotated[
    str,
    BeforeValidator(_text),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": PATTERN,
            "maxLength": LONGEST,
            "minimum": 0,
        }
    ),
]


def amount(quantity: str) -> Decimal:
    """The value of a quantity in its base unit: cores, or bytes. Raises ValueError for a text that is none."""
    match = _PARTS.match(quantity)
    if match is None or match["suffix"] not in _FACTORS:
        raise ValueError(f"{quantity!r} is not a quantity; examples: 500m, 2, 384Mi")
    return Decimal(match["number"]) * _FACTORS[match["suffix"]]
