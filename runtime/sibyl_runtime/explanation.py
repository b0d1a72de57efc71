"""How an answer came about, as the response's metadata tells it: from the results of the steps, by what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LLM = ("provider", "model", "attempts", "failed")
_CLASSIFICATION = ("complexity", "is_complex", "threshold", "rules")


def explained(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`llm`: who answered, after how many attempts, and which providers failed before it; only when one was asked.

    `classification`: how complex the question is, whether that reaches the threshold, and by which rules. The last
    step that holds either counts.
    """
    found: dict[str, Any] = {}
    for result in results.values():
        if result.get("provider") is not None and result.keys() >= set(_LLM):
            found["llm"] = {key: result[key] for key in _LLM}
        if result.keys() >= set(_CLASSIFICATION):
            found["classification"] = {key: result[key] for key in _CLASSIFICATION}
    return found
