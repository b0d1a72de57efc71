"""The notation of FAISS indexes: what is allowed, and what each needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.workspace.faiss_types import EXHAUSTIVE, LINKS, MOST_CELLS, FaissType, parse_faiss_type
from tests.workspace.documents import problems_of

STORAGES = st.sampled_from(["Flat", "SQ8", "SQfp16"])
ALLOWED = st.one_of(
    st.builds(FaissType, st.just("Flat"), STORAGES),
    st.builds(FaissType, st.just("IVF"), STORAGES, cells=st.integers(1, MOST_CELLS)),
    st.builds(FaissType, st.just("HNSW"), STORAGES, links=st.integers(*LINKS)),
)


@given(ALLOWED)
def test_every_allowed_index_is_read_from_its_own_notation(type_: FaissType) -> None:
    assert parse_faiss_type(type_.factory) == type_


@pytest.mark.parametrize(
    ("text", "factory", "trained_from"),
    [
        ("auto", "Flat", 0),
        ("IVF256,Flat", "IVF256,Flat", 9_984),
        ("IVF1,SQ8", "IVF1,SQ8", 256),
        ("SQ8", "SQ8", 256),
        ("SQfp16", "SQfp16", 0),
        ("HNSW32", "HNSW32,Flat", 0),
        ("HNSW32,SQ8", "HNSW32,SQ8", 256),
    ],
)
def test_an_index_needs_so_many_vectors_to_be_trained(text: str, factory: str, trained_from: int) -> None:
    found = parse_faiss_type(text)
    assert found is not None
    assert (found.factory, found.trained_from) == (factory, trained_from)


@pytest.mark.parametrize(
    "text",
    ["", ",", "flat", "IVF256", "IVF256,", "IVF0,Flat", "IVF65537,Flat", "IVF256,PQ16", "IVF4,HNSW32,Flat", "HNSW3",
     "HNSW129", "HNSW32,", "IDMap,Flat", "Flat ", "Flat,Flat", "hnsw", "IVF٣,Flat"],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert parse_faiss_type(text) is None
    assert parse_faiss_type("Flat") == EXHAUSTIVE


def test_what_the_environment_brings_is_judged_once_it_is_known() -> None:
    document = {"providers": {"vector_store": {"main": {"kind": "faiss", "index_type": "${INDEX}", "nprobe": 4}}}}
    at = "providers.vector_store.main"
    assert problems_of(document) == []
    assert problems_of(document, environ={"INDEX": "IVF4,Flat"}) == []
    assert problems_of(document, environ={"INDEX": "IVF2,Flat"})[0].startswith(f"{at}.nprobe: must be at most 2")
    assert problems_of(document, environ={"INDEX": "Flat"})[0].startswith(f"{at}.nprobe: has no effect")
