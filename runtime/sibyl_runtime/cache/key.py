"""The identity of an answer: everything that could have made it different. Equal keys, equal answers."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

ANSWERS: Final = "answer"
"""The kind of entry that is a whole answer."""


@dataclass(frozen=True)
class AnswerIdentity:
    """What an answer depends on.

    `pipeline` is a hash of the tool's and pipeline's effective definition; `corpus_version` makes every change of the
    corpus leave the old answers behind; `embedder` and `llm` are their tags; `arguments` are all of the tool's
    arguments, and `query_parameter` names the one that is a question: its spelling alone is normalised.
    """

    workspace: str
    tool: str
    pipeline: str
    corpus_version: int
    embedder: str
    llm: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    query_parameter: str = "query"


def normalise_query(text: str) -> str:
    """One spelling for questions that differ in invisible ways alone: composed characters, white space around them.

    Not white space within: in a question that quotes a program it is the question. Not compatibility forms (NFKC): they
    make `10²` into `102`. Not case folding: `US` and `us`, `WHO` and `who` are different questions. A miss costs a
    computation; a wrong hit costs the answer.
    """
    return unicodedata.normalize("NFC", text).strip()


def answer_key(identity: AnswerIdentity) -> str:
    """64 hexadecimal digits. Fields are structured, never joined: no value can pose as another field.

    Raises TypeError when an argument is not JSON.
    """
    arguments = dict(identity.arguments)
    question = arguments.get(identity.query_parameter)
    if isinstance(question, str):
        arguments[identity.query_parameter] = normalise_query(question)
    return _digest(identity, arguments)


def question_of(identity: AnswerIdentity) -> str | None:
    """The question in its one spelling; None for a call that asks none."""
    question = identity.arguments.get(identity.query_parameter)
    return normalise_query(question) if isinstance(question, str) else None


def scope_key(identity: AnswerIdentity) -> str:
    """All that an answer depends on but its question, as 64 hexadecimal digits: equal scopes, or no reuse at all.

    Raises TypeError when an argument is not JSON.
    """
    arguments = {name: value for name, value in identity.arguments.items() if name != identity.query_parameter}
    return _digest(identity, {"but": identity.query_parameter, "arguments": arguments})


def _digest(identity: AnswerIdentity, arguments: Mapping[str, Any]) -> str:
    canonical = orjson.dumps(
        [
            identity.workspace,
            identity.tool,
            identity.pipeline,
            identity.corpus_version,
            identity.embedder,
            identity.llm,
            arguments,
        ],
        option=orjson.OPT_SORT_KEYS,
    )
    return hashlib.sha256(canonical).hexdigest()
