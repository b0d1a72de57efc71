"""What answers depend on: the tags of every model on this machine, so that a changed one leaves old answers behind."""

from __future__ import annotations

from dataclasses import replace

from sibyl_runtime.opening import local_models, shown_embedder
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
