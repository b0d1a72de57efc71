"""Quantities are compared by value and kept as text."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sibyl_operator.api.quantity import Quantity, amount

QUANTITY = TypeAdapter(Quantity)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("2", "2"),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        ("1k", "1000"),
        ("1Ki", "1024"),
        ("384Mi", "402653184"),
        ("1Gi", "1073741824"),
        ("1G", "1000000000"),
    ],
)
def test_a_quantity_has_the_value_that_kubernetes_gives_it(text: str, value: str) -> None:
    assert amount(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "lots", "1 Gi", "1gi", "-1", "1.2.3Qi", "Mi"])
def test_a_text_that_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="should be a quantity, such as 500m, 2 or 384Mi"):
        QUANTITY.validate_python(text)


@pytest.mark.parametrize("text", ["", "lots", "Mi", "1Qi"])
def test_the_value_of_a_text_that_is_no_quantity_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        amount(text)


def test_a_whole_number_is_kept_as_text() -> None:
    assert QUANTITY.validate_python(2) == "2"
    with pytest.raises(ValidationError):
        QUANTITY.validate_python(True)


@given(st.integers(0, 10**9), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_every_quantity_that_is_accepted_has_a_value(number: int, suffix: str) -> None:
    assert amount(QUANTITY.validate_python(f"{number}{suffix}")) >= 0
