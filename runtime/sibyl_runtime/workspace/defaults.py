"""What a minimal document gets: the two pipelines and the tool that it does not have to write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sibyl_runtime.workspace.comparison import ConditionError
from sibyl_runtime.workspace.conditions import Condition
from sibyl_runtime.workspace.mcp import Tool
from sibyl_runtime.workspace.parameters import ToolParameter
from sibyl_runtime.workspace.pipelines import Pipeline, Step
from sibyl_runtime.workspace.references import references_of_kind
from sibyl_runtime.workspace.walk import texts_in

SEARCH = "search"
INGEST = "ingest"
SEARCH_TOOL = "search_documents"

_QUERY = ToolParameter(type="string", description="The question, in words.", required=True, minLength=1, maxLength=8192)
_TOP_K = ToolParameter(type="integer", description="How many chunks to find.", minimum=1, maximum=100)
_FILTERS = ToolParameter(type="object", description="Metadata that chunks must have: name and value, or operators.")

_BUILT_IN_PIPELINES: Mapping[str, Pipeline] = {
    SEARCH: Pipeline(
        description="Find the chunks nearest to the query and answer from them.",
        steps=[
            Step(use="rag.retrieval", config={"top_k": "${top_k}", "filters": "${filters}"}),
            Step(use="ai_generation.generation"),
        ],
        parameters={
            "query": ToolParameter(type="string", description="The question, in words."),
            "top_k": ToolParameter(type="integer", description="How many chunks to find."),
            "filters": _FILTERS,
        },
    ),
    INGEST: Pipeline(
        description="Read documents, cut them into chunks, embed and store them.",
        steps=[
            Step(use="data.load_documents", config={"path": "${path}"}),
            Step(use="rag.chunking"),
            Step(use="rag.embedding"),
            Step(use="data.store_vectors"),
        ],
        parameters={"path": ToolParameter(type="string", description="File or directory to read.")},
    ),
}


def effective_pipelines(written: Mapping[str, Pipeline]) -> dict[str, Pipeline]:
    """The pipelines written, and the built-in `search` and `ingest` where the document has none of that name."""
    return {**_BUILT_IN_PIPELINES, **written}


def effective_tools(written: Iterable[Tool], pipelines: Mapping[str, Pipeline]) -> dict[str, Tool]:
    """The tools written; when there is none, `search_documents` over the pipeline `search`.

    It offers `top_k` and `filters` only where the pipeline refers to them: an argument that changes nothing would be
    a lie.
    """
    tools = {tool.name: tool for tool in written}
    if tools or SEARCH not in pipelines:
        return tools
    used = set(referenced_parameters(pipelines[SEARCH]))
    optional = {name: parameter for name, parameter in (("top_k", _TOP_K), ("filters", _FILTERS)) if name in used}
    tool = Tool(
        name=SEARCH_TOOL,
        description="Search the documents and answer from what they say, with sources.",
        pipeline=SEARCH,
        parameters={"query": _QUERY, **optional},
    )
    return {tool.name: tool}


def referenced_parameters(pipeline: Pipeline) -> Iterator[str]:
    """The names of the parameters that the steps of a pipeline refer to, in settings and conditions."""
    for step in pipeline.all_steps:
        for _, text in texts_in(step.config):
            yield from (reference.name for reference in references_of_kind("parameter", text))
        if step.condition is not None:
            try:
                yield from Condition.parse(step.condition).parameters
            except ConditionError:
                continue
