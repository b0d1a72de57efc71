"""An answer that is an object: asked for with its JSON Schema, checked, and repaired once where it does not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import Generation, GenerationRequest, LanguageModel
from sibyl_runtime.techniques.spending import AnswerMisfit
from sibyl_runtime.workspace import AnswerSchema

CUT_SHORT = frozenset({"length", "content_filter"})

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)
_MOST_PROBLEMS = 10
_INSTRUCTION = (
    "Answer with one JSON object and nothing else: no explanation, no code fence. It has to fit this JSON Schema:\n"
)
_REPAIR = (
    "\n\nAn earlier answer to this did not fit. It was:\n{answer}\n\nWhat is wrong with it:\n{problems}\n\n"
    "Answer again, with one JSON object that fits the schema."
)


async def structured_answer(
    context: StepContext, model: LanguageModel, request: GenerationRequest, schema: AnswerSchema
) -> tuple[Generation, dict[str, Any]]:
    """What the model answered, and the object in it. Tokens and cost are those of both attempts.

    Raises AnswerMisfit, with all problems in `details`, when the second answer does not fit either, or when the first
    was cut short; and what the model raises.
    """
    asked = replace(
        request,
        prompt=f"{request.prompt}\n\n{_INSTRUCTION}{json.dumps(schema.json_schema(), ensure_ascii=False)}",
        answer_schema=schema.json_schema(),
    )
    with context.timed("generate"):
        first = await model.generate(asked)
    value, problems = read_answer(first.text, schema)
    if not problems:
        return first, value
    if first.finish_reason in CUT_SHORT:
        raise _refused(model, first, "was cut short before its JSON was complete; raise max_tokens", problems)
    repair = _REPAIR.format(answer=first.text, problems="\n".join(f"- {problem}" for problem in problems))
    with context.timed("generate"):
        second = await model.generate(
            replace(asked, prompt=asked.prompt + repair, timeout=context.deadline.remaining())
        )
    value, problems = read_answer(second.text, schema)
    if problems:
        told = "; ".join(problems)
        raise _refused(model, second, f"does not fit its schema, also after one repair: {told}", problems)
    return _both(first, second), value


def read_answer(text: str, schema: AnswerSchema) -> tuple[dict[str, Any], list[str]]:
    """The object in `text`, and in what it does not fit; a fence around it is no fault."""
    fenced = _FENCED.fullmatch(text)
    try:
        value = json.loads(fenced.group(1) if fenced else text, parse_constant=_no_number)
    except ValueError as error:
        return {}, [f"answer: is not JSON: {error}"]
    except RecursionError:
        return {}, ["answer: is not JSON that can be read: it is nested too deeply"]
    problems = list(schema.faults(value))[:_MOST_PROBLEMS]
    return ({}, problems) if problems else (dict(value), [])


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _both(first: Generation, second: Generation) -> Generation:
    known = first.cost_usd is not None and second.cost_usd is not None
    return replace(
        second,
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        completion_tokens=first.completion_tokens + second.completion_tokens,
        attempts=first.attempts + second.attempts,
        cost_usd=first.cost_usd + second.cost_usd if known else None,  # type: ignore[operator]  # both are known
    )


def _refused(model: LanguageModel, answer: Generation, what: str, problems: list[str]) -> AnswerMisfit:
    details: Mapping[str, Any] = {"provider": model.name, "model": answer.model, "problems": problems}
    return AnswerMisfit(f"provider {model.name} ({answer.model}): the answer {what}", details=details)
