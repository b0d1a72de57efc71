"""How the values of a condition compare: like with like, and an error for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from sibyl_runtime.workspace.result_kinds import Kind

Results = Mapping[str, Mapping[str, Any]]


class ConditionError(ValueError):
    """The condition cannot be read, or has no value; the message holds the condition and says where and why."""


class NoResult(ConditionError):
    """A step that the condition asks about has no result: it was skipped, or it failed and might."""


class _Anything:
    """A value that is not known yet, nor of which kind it will be."""


ANYTHING: Final = _Anything()
"""Stands for a value before a run: it compares with everything."""


def parameter_value(parameters: Mapping[str, Any], name: str) -> Any:
    """The value of a parameter. Raises ConditionError."""
    if name not in parameters:
        raise ConditionError(f"${{{name}}}: the parameter was not given and has no default")
    return parameters[name]


def result_value(results: Results, step: str, name: str) -> Any:
    """A field of an earlier step's result. Raises ConditionError."""
    if step not in results:
        raise NoResult(f'${{{step}.{name}}}: step "{step}" has no result; it did not run')
    if name not in results[step]:
        known = ", ".join(sorted(results[step])) or "nothing"
        raise ConditionError(f'${{{step}.{name}}}: step "{step}" has no "{name}"; it has {known}')
    return results[step][name]


def boolean(value: Any, where: str) -> bool:
    """`value`, which must be true or false. Raises ConditionError."""
    if isinstance(value, bool) or value is ANYTHING:
        return bool(value)
    raise ConditionError(f"{where} needs true or false, found {_shown(value)}; compare it with something")


def compare(left: Any, operator: str, right: Any) -> bool:
    """`left operator right`, for values of one kind. Raises ConditionError."""
    if left is ANYTHING or right is ANYTHING:
        return True
    if operator in ("in", "not in"):
        return _contains(right, left, operator) == (operator == "in")
    if operator in ("==", "!="):
        return _same(left, right, operator) == (operator == "==")
    if not (_kind(left) == _kind(right) and _kind(left) in (Kind.NUMBER, Kind.TEXT)):
        raise _incomparable(left, operator, right, "both sides must be numbers, or both text")
    if operator == "<":
        return bool(left < right)
    if operator == "<=":
        return bool(left <= right)
    return bool(left > right) if operator == ">" else bool(left >= right)


def _same(left: Any, right: Any, operator: str) -> bool:
    if left is not None and right is not None and _kind(left) != _kind(right):
        raise _incomparable(left, operator, right, "both sides must be of one kind")
    return bool(left == right)


def _contains(container: Any, item: Any, operator: str) -> bool:
    if isinstance(container, str) and isinstance(item, str):
        return item in container
    if isinstance(container, list | tuple):
        return any(_kind(item) == _kind(member) and bool(item == member) for member in container)
    raise _incomparable(item, operator, container, "the right side must be a list, or both sides text")


def _incomparable(left: Any, operator: str, right: Any, allowed: str) -> ConditionError:
    advice = "; test it for null first, with `... != null and`" if left is None or right is None else ""
    return ConditionError(f"cannot compare {_shown(left)} {operator} {_shown(right)}; {allowed}{advice}")


def _kind(value: Any) -> Kind:
    if value is None:
        return Kind.NULL
    if isinstance(value, bool):
        return Kind.TRUTH
    if isinstance(value, int | float | Decimal):
        return Kind.NUMBER
    if isinstance(value, str):
        return Kind.TEXT
    if isinstance(value, list | tuple):
        return Kind.LIST
    return Kind.OBJECT if isinstance(value, Mapping) else Kind.STREAM


def _shown(value: Any) -> str:
    return _kind(value).value
