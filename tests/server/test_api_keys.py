"""What a key may do, and keys that come and go while the server runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.errors import StartupError, Unauthorized
from sibyl_runtime.server.protection.keys import LOOK_SECONDS, KeyFileInvalid, KnownKey, api_keys, file_keys
from sibyl_runtime.workspace import Authentication
from tests.server.served import Served, document, scripted, served

KEYS = {"READER": "reader-key", "LOADER": "loader-key"}
METADATA = {
    "${READER}": {"name": "reader", "permissions": ["search_*"]},
    "${LOADER}": {"name": "loader", "permissions": ["store_documents", "prune_documents"]},
}
DOCUMENTS = {"source": "s", "documents": [{"id": "a.md", "text": "x"}]}
PRUNE = {"source": "s", "keep": []}


def digest(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def protected(**authentication: Any) -> str:
    return document(authentication={"type": "api_key", **authentication})


def by_permission() -> str:
    return protected(keys=["${READER}", "${LOADER}"], key_metadata=METADATA)


async def post(server: Served, path: str, key: str, body: Mapping[str, Any]) -> httpx.Response:
    return await server.api.post(path, json=body, headers={"X-API-Key": key})


@pytest.mark.parametrize(
    ("path", "body", "reader", "loader"),
    [
        ("/mcp/tools/search_documents", {"query": "x"}, 200, 403),
        ("/documents", DOCUMENTS, 403, 200),
        ("/documents/prune", PRUNE, 403, 200),
    ],
)
async def test_a_key_opens_what_its_permissions_name(
    path: str, body: Mapping[str, Any], reader: int, loader: int
) -> None:
    async with served(scripted(by_permission(), environ=KEYS)) as server:
        assert (await post(server, path, "reader-key", body)).status_code == reader
        assert (await post(server, path, "loader-key", body)).status_code == loader
    assert len(server.runtime.calls) + len(server.runtime.given) + len(server.runtime.pruned) == 1


async def test_what_a_key_may_do_is_told_where_it_may_not() -> None:
    async with served(scripted(by_permission(), environ=KEYS)) as server:
        response = await post(server, "/documents", "reader-key", DOCUMENTS)
    assert response.json()["error"] == {
        "code": "forbidden",
        "message": 'This key may not call "store_documents"; it may call search_* (mcp.authentication.key_metadata).',
        "details": {},
    }


async def test_a_key_without_metadata_may_do_everything() -> None:
    document = protected(keys=["${READER}", "${LOADER}"], key_metadata={"${LOADER}": METADATA["${LOADER}"]})
    async with served(scripted(document, environ=KEYS)) as server:
        assert (await post(server, "/documents", "reader-key", DOCUMENTS)).status_code == 200


async def test_a_key_may_have_a_rate_of_its_own() -> None:
    metadata = {"${READER}": {"rate_limit": {"requests_per_minute": 1, "burst": 2}}}
    document = protected(keys=["${READER}", "${LOADER}"], key_metadata=metadata)
    async with served(scripted(document, environ=KEYS)) as server:
        statuses = [
            (await post(server, "/mcp/tools/search_documents", "reader-key", {"query": "x"})).status_code
            for _ in range(3)
        ]
        other = await post(server, "/mcp/tools/search_documents", "loader-key", {"query": "x"})
    assert statuses == [200, 200, 429]
    assert other.status_code == 200
    assert "X-RateLimit-Limit" not in other.headers


async def test_a_document_may_hold_the_digest_in_place_of_the_key() -> None:
    document = protected(
        keys=[digest("reader-key")], key_metadata={digest("reader-key"): {"permissions": ["search_*"]}}
    )
    async with served(scripted(document)) as server:
        assert (await post(server, "/mcp/tools/search_documents", "reader-key", {"query": "x"})).status_code == 200
        assert (await post(server, "/documents", "reader-key", DOCUMENTS)).status_code == 403
        refused = await post(server, "/mcp/tools/search_documents", digest("reader-key"), {"query": "x"})
    assert refused.status_code == 401


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def look(self) -> None:
        """Later than the next look at the file."""
        self.now += LOOK_SECONDS


def scope(key: str) -> dict[str, Any]:
    return {"headers": [(b"x-api-key", key.encode())]}


def with_file(path: Path, clock: Clock, **settings: Any) -> Any:
    return api_keys(Authentication(keys_file=str(path), **settings), [], clock)


async def test_keys_of_a_file_come_and_go_without_a_restart(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", Clock()
    file.write_text(f"# two teams\n{digest('old')} team-a\n\n{digest('both')}  # no name\n")
    keys = with_file(file, clock, key_metadata={"team-a": {"permissions": ["search_*"]}})
    assert (await keys.identify(scope("old"))).name == "team-a"
    assert not (await keys.identify(scope("old"))).may_call("store_documents")
    assert (await keys.identify(scope("both"))).may_call("store_documents")
    file.write_text(f"{digest('new')} team-a\n{digest('both')}\n")
    clock.look()
    assert (await keys.identify(scope("new"))).name == "team-a"
    await keys.identify(scope("both"))
    with pytest.raises(Unauthorized):
        await keys.identify(scope("old"))


async def test_a_file_that_is_another_one_through_a_link_is_read_again_as_a_secrets_volume_needs(
    tmp_path: Path,
) -> None:
    for generation, key in (("one", "first"), ("two", "second")):
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "keys").write_text(digest(key))
        os.utime(tmp_path / generation / "keys", ns=(1, 1))
    (tmp_path / "data").symlink_to("one")
    clock = Clock()
    keys = with_file(tmp_path / "data" / "keys", clock)
    await keys.identify(scope("first"))
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "data")
    clock.look()
    await keys.identify(scope("second"))
    with pytest.raises(Unauthorized):
        await keys.identify(scope("first"))


@pytest.mark.parametrize("spoilt", ["not a digest\n", None, b"\xff\xfe", "x" * (1 << 20) + "y"])
async def test_a_file_that_cannot_be_read_any_more_leaves_the_keys_as_they_were(
    tmp_path: Path, spoilt: str | bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "keys", Clock()
    file.write_text(digest("old"))
    keys = with_file(file, clock)
    if spoilt is None:
        file.unlink()
    else:
        file.write_bytes(spoilt if isinstance(spoilt, bytes) else spoilt.encode())
    for _ in range(3):
        clock.look()
        await keys.identify(scope("old"))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the keys that were read before stay in force" in caplog.text
    file.write_text(digest("new"))
    clock.look()
    await keys.identify(scope("new"))


async def test_a_file_that_was_emptied_lets_nobody_in(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", Clock()
    file.write_text(digest("old"))
    keys = with_file(file, clock)
    file.write_text("")
    clock.look()
    with pytest.raises(Unauthorized):
        await keys.identify(scope("old"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("plain-key\n", "line 1 must be a digest as `sibyl key new` prints it, and a name of one word"),
        (f"{digest('')}\n", "line 1 must be a digest as `sibyl key new` prints it, and a name of one word"),
        (f"\n{digest('a')} two words\n", "line 2 must be a digest as `sibyl key new` prints it, and a name"),
        ("# nothing\n", "there is no key, so nobody could call"),
    ],
)
def test_a_file_that_lets_nobody_in_or_everybody_is_refused_at_start(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "keys").write_text(text)
    with pytest.raises(StartupError, match=message.replace("(", r"\(")):
        with_file(tmp_path / "keys", Clock())


@given(st.text() | st.text().map(lambda name: f"{digest('a')} {name}"))
def test_no_text_of_a_file_is_anything_but_keys_or_refused(text: str) -> None:
    keys: tuple[KnownKey, ...] = ()
    with contextlib.suppress(KeyFileInvalid):
        keys = file_keys(text, {})
    assert all(known.digest.hex() in text for known in keys)
