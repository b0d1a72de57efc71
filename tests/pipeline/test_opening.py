"""What answers depend on: the tags of every model on this machine, so that a changed one leaves old answers behind."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from sibyl_runtime.opening import identity_of, local_models, open_caches, shown_embedder
from sibyl_runtime.settings import Settings
from sibyl_runtime.workspace import SourceDocument, parse_workspace
from tests.support.parts import Parts


class Tagged:
    """A cross-encoder by its tag alone."""

    def __init__(self, tag: str) -> None:
        self.tag = tag


async def test_the_models_of_an_answer_are_the_embedding_model_and_every_cross_encoder(parts: Parts) -> None:
    services = parts.services()
    assert local_models(services) == services.embedder.tag
    first, second = Tagged("a@1/int8/512"), Tagged("b@2/int8/512")
    one_way = replace(services, cross_encoders={"x": first, "y": second})  # type: ignore[dict-item]
    other_way = replace(services, cross_encoders={"x": second, "y": first})  # type: ignore[dict-item]
    assert local_models(one_way) == local_models(other_way) == f"{services.embedder.tag} a@1/int8/512 b@2/int8/512"


async def test_clients_are_not_told_which_host_embeds(parts: Parts) -> None:
    assert shown_embedder(parts.services()) == parts.embedder.tag
    provider = {"kind": "openai", "model": "text-embedding-3-small", "api_key": "k", "base_url": "http://10.0.0.7/v1"}
    parts.document = {"providers": {"embedding": {"default": provider}}}
    assert shown_embedder(parts.services()) == f"text-embedding-3-small/{parts.embedder.dimension}"


def test_what_a_filter_asks_for_tells_two_runtimes_apart_whatever_it_is_called() -> None:
    search = {"use": "rag.retrieval", "config": {"filters": {"customer_key": "${CUSTOMER}", "url": "${PAGE}"}}}
    document = SourceDocument("workspace.yaml", {"pipelines": {"search": {"steps": [search]}}}, {})
    workspace = parse_workspace(document.raw, environ={"CUSTOMER": "a", "PAGE": "https://docs?p=1"})

    def identity(customer: str, page: str) -> str:
        environ = {"CUSTOMER": customer, "PAGE": page}
        return identity_of(document, environ, Settings(Path("data")), workspace)

    page = "https://docs?p=1"
    assert len({identity("acme", page), identity("globex", page), identity("acme", "https://docs?p=2")}) == 3
    assert identity("acme", page) == identity("acme", page)


async def test_where_nothing_is_kept_no_cache_is_opened(tmp_path: Path) -> None:
    caching = {"enabled": True, "cache_generations": False, "disk": {"path": str(tmp_path / "kept")}}
    workspace = parse_workspace({"shops": {"infrastructure": {"config": {"caching": caching}}}})
    async with contextlib.AsyncExitStack() as stack:
        assert open_caches(workspace, Settings(tmp_path), stack).kinds == {}
    assert not (tmp_path / "kept").exists()
