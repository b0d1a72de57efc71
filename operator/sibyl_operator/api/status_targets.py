"""`status.kpis.targets`: every KPI of the document against its target, in figures that stand still while noise moves.

A value is told anew when its verdict or its target changed, when it began or ceased to be zero, or when it moved by
more than a twentieth of itself and a hundredth of its target. Verdicts are of the exact value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sibyl_operator.observed import TargetFacts

OF_VALUE: Final = 0.05
OF_TARGET: Final = 0.01


def target_statuses(targets: Sequence[TargetFacts], previous: Any) -> list[dict[str, Any]]:
    """One entry per KPI; `value` and `met` are left out while nothing is known. `previous` is what is told now."""
    told = {one.get("name"): one for one in previous or () if isinstance(one, Mapping)}
    return [_status(facts, told.get(facts.name, {})) for facts in targets]


def significant(value: float) -> str:
    """`value` with two significant digits and no exponent: `0.0042`, `0.41`, `13`, `130`."""
    return "0" if value == 0 else f"{Decimal(f'{value:.1e}'):f}"


def share_text(share: float) -> str:
    """A share with two significant digits of the lesser part: `0.012`, and `0.9985`, where `1.0` would say nothing."""
    return f"{1 - Decimal(significant(1 - share)):f}" if share > 0.5 else significant(share)


def _status(facts: TargetFacts, told: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": facts.name, "target": f"{facts.target:.10g}"}
    if facts.value is None:
        return found
    text = share_text(facts.value) if facts.is_share else significant(facts.value)
    same = told.get("target") == found["target"] and told.get("met") is facts.met
    if same and _is_noise(facts, facts.value, told.get("value")):
        text = told["value"]
    return found | {"value": text, "met": facts.met}


def _is_noise(facts: TargetFacts, value: float, told: Any) -> bool:
    before = _number(told)
    if before is None or (value == 0) != (before == 0):
        return False
    size, target = value, facts.target
    if facts.is_share:
        size, target = min(value, 1 - value), min(target, 1 - target)
    return abs(value - before) <= OF_VALUE * abs(size) + OF_TARGET * abs(target)


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
