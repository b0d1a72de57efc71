"""OpenAI's chat completions API over tools: what a request asks, and how an answer and an error look. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from sibyl_runtime.answering import ToolOutcome
from sibyl_runtime.errors import InvalidParameters, NotFound
from sibyl_runtime.pipeline.listening import AnswerText, Event
from sibyl_runtime.server.event_stream import sse
from sibyl_runtime.server.reply import reply
from sibyl_runtime.workspace import GenerationConfig, Tool, Workspace, format_path, technique
from sibyl_runtime.workspace.errors import found
from sibyl_runtime.workspace.explain import explained

QUERY = "query"

# What a request may not ask for, and the values that ask for nothing: to ignore one would be another answer.
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "tools": (None, []),
    "functions": (None, []),
    "tool_choice": (None, "none", "auto"),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "web_search_options": (None,),
}
_TYPES: Mapping[int, str] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class _StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True)

    include_usage: bool = Field(False, description="End the stream with its usage.")


class _Request(BaseModel):
    """What is read of a request. Settings of sampling and the like are the workspace's: they are let pass unread."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str = Field(description="the name of a tool, or of the workspace; GET /v1/models lists them.")
    messages: Annotated[list[dict[str, Any]], FailFast()] = Field(
        description='the conversation, such as [{"role": "user", "content": "How do I ...?"}].'
    )
    stream: bool | None = Field(False, description="Answer in parts.")
    stream_options: _StreamOptions | None = Field(None, description="What a stream tells besides.")


@dataclass(frozen=True)
class Asked:
    """What a request comes to: a question to a tool. `model` is what the client called it."""

    model: str
    tool: str
    question: str
    stream: bool
    usage: bool


def answering_tools(workspace: Workspace, tools: Mapping[str, Tool]) -> dict[str, Tool]:
    """The tools that a conversation can ask, in the order of the document: they answer a `query` and need no more."""
    return {name: tool for name, tool in tools.items() if _answers(workspace, tool)}


def asked(body: Mapping[str, Any], workspace: Workspace, tools: Mapping[str, Tool]) -> Asked:
    """Read a request. Raises InvalidParameters naming the field, NotFound for a model that is none of the tools.

    `model` is the name of a tool, or the workspace's for the first. The last message of the user is the question.
    """
    try:
        request = _Request.model_validate(body)
    except ValidationError as error:
        faults = explained(error, _Request)
        message = "; ".join(f"{format_path(fault.place)}: {fault.message}" for fault in faults)
        raise InvalidParameters(message, details={"param": str(faults[0].place[0])}) from None
    for name, neutral in _REFUSED.items():
        value = body.get(name)
        if not any(value == allowed and type(value) is type(allowed) for allowed in neutral):
            raise InvalidParameters(f"{name}: is not available here; remove it", details={"param": name})
    tool = next(iter(tools), None) if request.model == workspace.name else request.model
    if tool is None or tool not in tools:
        known = ", ".join([workspace.name, *tools]) if tools else "none"
        raise NotFound(f'there is no model "{request.model[:100]}"; known: {known}', details={"param": "model"})
    return Asked(
        model=request.model,
        tool=tool,
        question=_question(request.messages),
        stream=bool(request.stream),
        usage=request.stream_options is not None and request.stream_options.include_usage,
    )


def models(workspace: Workspace, tools: Mapping[str, Tool], *, created: int) -> dict[str, Any]:
    """The list of models: the workspace, which stands for its first tool, and every tool."""
    names = dict.fromkeys([workspace.name, *tools]) if tools else {}
    return {"object": "list", "data": [model(workspace, name, created=created) for name in names]}


def model(workspace: Workspace, name: str, *, created: int) -> dict[str, Any]:
    """One model. `created` in seconds since 1970: when this process started."""
    return {"id": name, "object": "model", "created": created, "owned_by": workspace.name}


def completion(asking: Asked, outcome: ToolOutcome, seconds: float, *, request_id: str, created: int) -> dict[str, Any]:
    """A chat completion; under `sibyl` what the tool's own route answers, sources and costs included."""
    message = {"role": "assistant", "content": outcome.output["answer"] or ""}
    return {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": created,
        "model": asking.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason(outcome), "logprobs": None}],
        "usage": usage(outcome),
        "sibyl": reply(asking.tool, outcome, seconds, request_id=request_id),
    }


def finish_reason(outcome: ToolOutcome) -> str:
    """Why the answer ends, in the words that OpenAI's API has for it; servers have others."""
    return outcome.finish_reason if outcome.finish_reason in ("length", "content_filter") else "stop"


def usage(outcome: ToolOutcome) -> dict[str, int]:
    """Tokens of this answer; none when it came from the cache."""
    return {
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "total_tokens": outcome.prompt_tokens + outcome.completion_tokens,
    }


class CompletionChunks:
    """The format of a streamed chat completion."""

    def __init__(self, asking: Asked, *, request_id: str, created: int) -> None:
        self._asking = asking
        self._request_id = request_id
        self._created = created
        self._begun = False

    def told(self, event: Event) -> Iterator[bytes]:
        """A delta for each part of the answer; stages and sources come with the end."""
        if isinstance(event, AnswerText):
            yield from self._role()
            yield self._chunk({"content": event.text})

    def result(self, outcome: ToolOutcome, seconds: float) -> Iterator[bytes]:
        """The last delta, with `sibyl` as a completion has it; the usage when it was asked for; the end."""
        yield from self._role()
        told = reply(self._asking.tool, outcome, seconds, request_id=self._request_id)
        yield self._chunk({}, finish_reason=finish_reason(outcome), sibyl=told)
        if self._asking.usage:
            yield sse({**self._head(), "choices": [], "usage": usage(outcome)})
        yield b"data: [DONE]\n\n"

    def failure(self, body: Any) -> bytes:
        """The error in OpenAI's form; the client library raises it."""
        return sse(error(body, 500))

    def _role(self) -> Iterator[bytes]:
        if not self._begun:
            self._begun = True
            yield self._chunk({"role": "assistant", "content": ""})

    def _head(self) -> dict[str, Any]:
        head = {"id": f"chatcmpl-{self._request_id}", "object": "chat.completion.chunk", "created": self._created}
        return {**head, "model": self._asking.model}

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None, **extra: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        absent = {"usage": None} if self._asking.usage else {}
        return sse({**self._head(), "choices": [choice], **absent, **extra})


def error(body: Mapping[str, Any], status: int) -> dict[str, Any]:
    """A documented error of this project in OpenAI's form."""
    found = _as_sent(body["error"])
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    parameter = found["details"].get("param")
    code = "model_not_found" if found["code"] == "not_found" and parameter == "model" else found["code"]
    return {
        "error": {"message": found["message"], "type": kind, "param": parameter, "code": code},
        "request_id": body["request_id"],
    }


def _as_sent(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is wrong with the tool's question is, for who sent it, wrong with `messages`."""
    problems = error["details"].get("problems", ())
    if not any(problem["parameter"] == QUERY for problem in problems):
        return error
    told = [
        f"{'messages, the question' if problem['parameter'] == QUERY else problem['parameter']}: {problem['message']}"
        for problem in problems
    ]
    return {**error, "message": "; ".join(told), "details": {**error["details"], "param": "messages"}}


def _answers(workspace: Workspace, tool: Tool) -> bool:
    pipeline = workspace.effective_pipelines[tool.pipeline]
    generates = any(technique(step.use).config is GenerationConfig for step in pipeline.all_steps)
    required = {name for name, parameter in tool.parameters.items() if parameter.required}
    return generates and QUERY in tool.parameters and required <= {QUERY}


def _question(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the user's last message. The messages before it are not read: each question stands for itself."""
    if not messages:
        raise InvalidParameters("messages: must not be empty", details={"param": "messages"})
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].get("role") == "user":
            return _asked_text(messages[index].get("content"), f"messages[{index}].content")
    raise InvalidParameters(
        "messages: holds no message with the role user; its last one is the question", details={"param": "messages"}
    )


def _asked_text(content: object, at: str) -> str:
    """The text of a message: its content, or the text parts of it."""
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = []
    for index, part in enumerate(parts):
        place = f"{at}[{index}]" if isinstance(content, list) else at
        if not isinstance(part, Mapping):
            _refuse(f'{place}: must be a part such as {{"type": "text", "text": "..."}}, found {found(part)}')
        if part.get("type") != "text":
            _refuse(
                f"{place}.type: found {found(part.get('type'))}; allowed: text, since answers are about texts alone"
            )
        text = part.get("text")
        if not isinstance(text, str):
            where = f"{place}.text" if isinstance(content, list) else place
            _refuse(
                f"{where}: must be text{'' if isinstance(content, list) else ' or a list of text parts'}, "
                f"found {found(text)}"
            )
        texts.append(text)
    question = "\n".join(texts)
    if not question.strip():
        _refuse(f"{at}: must hold the question, found an empty text")
    if "\0" in question:
        _refuse(f"{at}: must not hold the character NUL, found it at position {question.index(chr(0))}; remove it")
    return question


def _refuse(message: str) -> NoReturn:
    raise InvalidParameters(message, details={"param": "messages"})
