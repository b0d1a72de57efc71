"""The performance guide is the specification of the dialect: every block of it that holds workspace keys must be read,
and what the models hold afterwards must be what the guide wrote."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sibyl_runtime.workspace import (
    CACHE_WARMING,
    Caching,
    Workspace,
    WorkspaceInvalid,
    load_document,
    parse_workspace,
    technique,
)

GUIDE = Path(__file__).resolve().parents[3] / "shared" / "guide" / "000_952204980b706613.txt"

WORKSPACE_KEYS = frozenset({"providers", "shops", "pipelines", "steps", "mcp", "observability"})
WORKSPACE_BLOCKS = 28
OTHER_BLOCKS = 6
VARIANTS = 33

# Blocks of YAML that configure something else, by the first key in them, and why they are not workspace documents.
NOT_WORKSPACE = {
    "services": "docker-compose files",
    "apiVersion": "HorizontalPodAutoscalers",
    "resources": "resources of a container in Kubernetes",
    "nodeSelector": "node pool of Kubernetes",
}

INGEST = ("data.load_documents", "rag.chunking", "rag.embedding", "data.store_vectors")
SEARCH = ("rag.retrieval", "ai_generation.generation")

pytestmark = pytest.mark.skipif(not GUIDE.exists(), reason=f"the guide is not at {GUIDE}")


@dataclass(frozen=True)
class Block:
    """A block of the guide, or one half of a before/after pair. `line` is that of the guide."""

    line: int
    written: Mapping[str, Any]


def yaml_blocks() -> Iterator[tuple[int, str]]:
    """Every fenced block of the guide that says it is YAML, with its first line."""
    text = GUIDE.read_text(encoding="utf-8")
    for match in re.finditer(r"^```ya?ml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start(1)) + 1, match[1]


def variants(text: str) -> list[Mapping[str, Any]]:
    """The documents of a block: where a top-level key comes again (before, after), another document begins."""
    parts: list[str] = [""]
    seen: set[str] = set()
    for line in text.splitlines(keepends=True):
        key = re.match(r"([A-Za-z_]+):", line)
        if key is not None and key[1] in seen:
            parts.append("")
            seen = set()
        if key is not None:
            seen.add(key[1])
        parts[-1] += line
    return [yaml.safe_load(part) for part in parts]


def first_key(text: str) -> str:
    match = re.search(r"^([A-Za-z_]+):", text, re.MULTILINE)
    assert match is not None
    return match[1]


def workspace_texts() -> list[tuple[int, str]]:
    return [(line, text) for line, text in yaml_blocks() if first_key(text) in WORKSPACE_KEYS]


def blocks() -> list[Block]:
    if not GUIDE.exists():
        return []
    return [Block(line, written) for line, text in workspace_texts() for written in variants(text)]


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, mapping by mapping."""
    result = copy.deepcopy(dict(base))
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def pipeline_around(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fragment's steps in a pipeline that can work: what they need comes before them, what they feed after."""
    fragment = {technique(step["use"]).id: step for step in steps}
    order = INGEST if fragment.keys() & set(INGEST) else (SEARCH[0], "rag.reranking", SEARCH[1])
    assert fragment.keys() <= set(order), "a fragment with a technique that the test has no place for"
    return [fragment.get(use, {"use": use}) for use in order if use in fragment or use != "rag.reranking"]


def searching(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps, with a retrieval before a generation that has none to answer from."""
    uses = [technique(step["use"]).id for step in steps]
    if SEARCH[1] not in uses or SEARCH[0] in uses:
        return steps
    return [*steps[: uses.index(SEARCH[1])], {"use": SEARCH[0]}, *steps[uses.index(SEARCH[1]) :]]


def document_of(written: Mapping[str, Any]) -> dict[str, Any]:
    """The block in a minimal document: `steps` in a pipeline, a model for a provider that is given none, a search for
    a pipeline that answers without one, and caches for one that warms them."""
    minimal: dict[str, Any] = {"providers": {"llm": {"primary": {"kind": "openai", "model": "gpt-3.5-turbo"}}}}
    if CACHE_WARMING in str(written.get("pipelines")):
        minimal["shops"] = {"infrastructure": {"config": {"caching": {"enabled": True}}}}
    if "steps" not in written:
        document = merged(minimal, written)
        for pipeline in document.get("pipelines", {}).values():
            pipeline["steps"] = searching(pipeline["steps"])
        return document
    rest = {key: value for key, value in written.items() if key != "steps"}
    return merged(minimal, {**rest, "pipelines": {"fragment": {"steps": pipeline_around(written["steps"])}}})


def missing(written: Any, held: Any, at: str = "") -> Iterator[str]:
    """Every leaf that was written and is not held: a list must hold its elements in order."""
    if isinstance(written, Mapping):
        for key, value in written.items():
            inner = held.get(key, _NOTHING) if isinstance(held, Mapping) else _NOTHING
            yield from missing(value, inner, f"{at}.{key}")
    elif isinstance(written, list):
        if not isinstance(held, list) or len(held) != len(written):
            yield f"{at}: wrote {len(written)} elements, holds {held!r}"
            return
        for index, value in enumerate(written):
            yield from missing(value, held[index], f"{at}[{index}]")
    elif written != held or isinstance(written, bool) != isinstance(held, bool):
        yield f"{at}: wrote {written!r}, holds {held!r}"


_NOTHING = object()


def held_by(workspace: Workspace) -> dict[str, Any]:
    """What the models hold, as the document writes it; settings of steps and caches by their own models."""
    held = workspace.model_dump(mode="python")
    for pipeline in held["pipelines"].values():
        for step in pipeline["steps"]:
            model = technique(step["use"]).config
            step["config"] = model.model_validate(step["config"]).model_dump()
    infrastructure = held["shops"].get("infrastructure")
    if infrastructure is not None:
        caching = Caching.model_validate(infrastructure["config"]["caching"])
        infrastructure["config"]["caching"] = caching.model_dump()
    return held


@pytest.mark.parametrize("block", blocks(), ids=lambda block: f"line {block.line}")
def test_every_block_is_read_and_held_as_written(block: Block) -> None:
    document = document_of(block.written)
    held = held_by(parse_workspace(document, check_available=False))
    assert list(missing(document, held)) == []


@pytest.mark.parametrize("block", blocks(), ids=lambda block: f"line {block.line}")
def test_every_block_is_read_with_its_environment_too(block: Block) -> None:
    environ = {"DATABASE_URL": "postgresql://db/sibyl", "REDIS_URL": "redis://cache:6379"}
    document = document_of(block.written)
    if "redis" in str(block.written) and "REDIS_URL" not in str(block.written):
        caching = document["shops"]["infrastructure"]["config"]["caching"]
        caching["redis"] = {"url": "${REDIS_URL}"}
    workspace = parse_workspace(document, environ=environ, check_available=False)
    assert "${DATABASE_URL}" not in str(workspace)
    assert "${REDIS_URL}" not in str(workspace)


def test_no_block_is_dropped_silently() -> None:
    keys = [first_key(text) for _, text in yaml_blocks()]
    unknown = [key for key in keys if key not in WORKSPACE_KEYS and key not in NOT_WORKSPACE]
    assert unknown == []
    assert len(workspace_texts()) == WORKSPACE_BLOCKS
    assert len(blocks()) == VARIANTS


def test_the_blocks_left_out_hold_no_workspace_key() -> None:
    left_out = [text for _, text in yaml_blocks() if first_key(text) in NOT_WORKSPACE]
    assert len(left_out) == OTHER_BLOCKS
    assert {first_key(text) for text in left_out} == set(NOT_WORKSPACE)
    for text in left_out:
        tops = set(re.findall(r"^([A-Za-z_]+):", text, re.MULTILINE))
        assert not tops & WORKSPACE_KEYS


def test_a_block_with_a_key_written_twice_is_refused_as_one_file() -> None:
    twice = next(text for _, text in workspace_texts() if len(variants(text)) == 2)
    with pytest.raises(WorkspaceInvalid, match="the key is written twice, in lines 2 and 9"):
        load_document("guide.yaml", twice)
