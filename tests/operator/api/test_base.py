"""A rule is one sentence, said by the API server in CEL and by every other reader in Python."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import Field, ValidationError

from sibyl_operator.api.base import RULES_BROKEN, ApiModel, Rule


class Span(ApiModel):
    """Two ends."""

    low_end: int = Field(1, description="Low.")
    high_end: int = Field(2, description="High.")
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.lowEnd <= self.highEnd",
            "lowEnd is above highEnd",
            lambda span: f"lowEnd {span.low_end} is above" if span.low_end > span.high_end else None,
            field="lowEnd",
        ),
        Rule("self.highEnd == oldSelf.highEnd", "highEnd cannot be changed", None),
    )


def test_a_rule_that_holds_is_silent() -> None:
    assert Span.model_validate({"lowEnd": 2}).low_end == 2


def test_a_broken_rule_names_the_field_and_what_was_found() -> None:
    with pytest.raises(ValidationError) as caught:
        Span.model_validate({"lowEnd": 3})
    (error,) = caught.value.errors()
    assert error["type"] == RULES_BROKEN
    assert error["ctx"]["broken"] == [("lowEnd", "lowEnd 3 is above")]


def test_a_transition_rule_is_for_the_api_server_alone() -> None:
    assert Span.rules[1].validation() == {
        "rule": "self.highEnd == oldSelf.highEnd",
        "message": "highEnd cannot be changed",
    }
    assert Span(high_end=7).high_end == 7


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Span.model_validate({"middle": 1})
