"""The Builtin cache: its objects, and a real Redis run by the very script and configuration that they hold."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from sibyl_operator.api.sources import Source
from sibyl_operator.desired import desired
from sibyl_operator.desired.cache.config_map import CONFIG_DIRECTORY, PORT, RUN_DIRECTORY, SECRET_DIRECTORY
from sibyl_operator.observed import SourceFacts
from tests.operator.api.facts import resource, sources
from tests.support.redis_server import free_port, redis_program

PASSWORD = "5e" * 24
MIB = 2**20


def objects(**cache: Any) -> dict[str, dict[str, Any]]:
    found = resource(cache={"provider": "Builtin", **cache})
    return {
        made["kind"]: made for made in desired(found, sources(found)) if made["metadata"]["name"] == "docs-cache"
    }  # fmt: skip


def pod(**cache: Any) -> dict[str, Any]:
    made: dict[str, Any] = objects(**cache)["Deployment"]["spec"]["template"]
    return made


def container(**cache: Any) -> dict[str, Any]:
    (found,) = pod(**cache)["spec"]["containers"]
    made: dict[str, Any] = found
    return made


def test_a_cache_of_the_operators_is_five_objects_beside_its_secret() -> None:
    assert set(objects()) == {"ServiceAccount", "ConfigMap", "Deployment", "Service", "NetworkPolicy"}


@pytest.mark.parametrize(
    "cache", [{"provider": "None"}, {"provider": "External", "external": {"secretRef": {"name": "redis"}}}]
)
def test_another_cache_is_none_of_them(cache: dict[str, Any]) -> None:
    assert not [m for m in desired(resource(cache=cache), {}) if "cache" in m["metadata"]["name"]]


@pytest.mark.parametrize(
    ("memory", "limit", "maximum"),
    [(None, "256Mi", 192 * MIB), ("1Gi", "1Gi", 768 * MIB), ("32Mi", "32Mi", 24 * MIB), ("100M", "100M", 75_000_000)],
)
def test_all_of_the_memory_is_reserved_and_three_quarters_hold_answers(
    memory: str | None, limit: str, maximum: int
) -> None:
    sized = {} if memory is None else {"memory": memory}
    assert container(**sized)["resources"] == {
        "requests": {"cpu": "50m", "memory": limit},
        "limits": {"memory": limit},
    }
    assert f"\nmaxmemory {maximum}\n" in objects(**sized)["ConfigMap"]["data"]["redis.conf"]


def test_another_size_or_image_or_password_replaces_the_pod_and_nothing_else_does() -> None:
    found = resource(cache={"provider": "Builtin"})
    facts = sources(found)
    other = {**facts, Source("Secret", "docs-database"): SourceFacts(True, frozenset({"dsn"}), "new")}
    moved = {**facts, Source("Secret", "docs-cache"): SourceFacts(True, frozenset({"password"}), "new")}

    def template(of: Any, known: dict[Source, SourceFacts]) -> Any:
        return next(
            m for m in desired(of, known) if m["metadata"]["name"] == "docs-cache" and m["kind"] == "Deployment"
        )

    before = template(found, facts)
    assert template(found, other) == before
    assert template(found, moved) != before
    for change in ({"memory": "1Gi"}, {"image": "example.com/redis:7"}):
        assert template(resource(cache={"provider": "Builtin", **change}), facts) != before


def test_the_password_is_in_no_object() -> None:
    text = str(objects())
    assert PASSWORD not in text
    assert "requirepass" in text
    assert "env" not in container()
    assert container()["command"] == ["sh", f"{CONFIG_DIRECTORY}/start.sh"]


def test_probes_need_neither_a_password_nor_a_client() -> None:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container()[probe]["tcpSocket"] == {"port": "redis"}


def test_the_runtime_gets_the_address_with_the_password_from_the_secret() -> None:
    found = resource(cache={"provider": "Builtin"})
    runtime = next(m for m in desired(found, {}) if m["kind"] == "Deployment")["spec"]["template"]["spec"]
    *_, password, address = runtime["containers"][0]["env"]
    assert password == {
        "name": "SIBYL_CACHE_PASSWORD",
        "valueFrom": {"secretKeyRef": {"name": "docs-cache", "key": "password"}},
    }
    assert address == {
        "name": "REDIS_URL",
        "value": "redis://:$(SIBYL_CACHE_PASSWORD)@docs-cache.team.svc:6379/0",
    }


# --- the real thing


@dataclass
class Running:
    """A Redis as the pod would run it, in a directory in place of the pod's mounts."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def client(self, password: str | None = PASSWORD) -> Redis:
        return Redis(host="127.0.0.1", port=self.port, password=password)


def start(directory: Path, data: dict[str, str], *, password: str = PASSWORD) -> Running:
    """Run the script of the ConfigMap; only the places and the port are those of this machine."""
    port = free_port()
    places = {
        CONFIG_DIRECTORY: directory / "etc",
        SECRET_DIRECTORY: directory / "secret",
        RUN_DIRECTORY: directory / "run",
    }
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    (places[SECRET_DIRECTORY] / "password").write_text(password)
    for name, text in data.items():
        moved = text.replace(f"port {PORT}", f"port {port}")
        # The longest first: one is the beginning of another.
        for mount in sorted(places, key=len, reverse=True):
            moved = re.sub(rf"{mount}(?=[/\s])", str(places[mount]), moved)
        (places[CONFIG_DIRECTORY] / name).write_text(moved)
    programs = directory / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "redis-server").unlink(missing_ok=True)
    (programs / "redis-server").symlink_to(redis_program())
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", str(places[CONFIG_DIRECTORY] / "start.sh")],
            stdout=log, stderr=log, env={"PATH": f"{programs}:{os.environ['PATH']}"},
        )  # fmt: skip
    return Running(directory, port, process)


def await_answer(redis: Running) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with redis.client() as client:
                client.ping()
                return
        except RedisConnectionError:
            if redis.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(redis.log) from None
            time.sleep(0.01)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Running]:
    running = start(tmp_path, objects(memory="32Mi")["ConfigMap"]["data"])
    try:
        await_answer(running)
        yield running
    finally:
        running.process.terminate()
        running.process.wait(20)


def test_redis_takes_nobody_without_the_password_and_shows_it_nowhere(redis: Running) -> None:
    for wrong in (None, "wrong"):
        with redis.client(wrong) as client, pytest.raises(AuthenticationError):
            client.get("key")
    arguments = Path(f"/proc/{redis.process.pid}/cmdline").read_bytes()
    environment = Path(f"/proc/{redis.process.pid}/environ").read_bytes()
    assert b"redis-server" in arguments, "the script did not become Redis"
    assert PASSWORD.encode() not in arguments + environment
    assert PASSWORD not in redis.log
    assert (redis.directory / "run" / "password.conf").stat().st_mode & 0o077 == 0


def test_redis_runs_with_the_settings_of_the_workspace(redis: Running) -> None:
    with redis.client() as client:
        found: dict[str, Any] = {}
        for name in ("maxmemory", "maxmemory-policy", "save", "appendonly", "protected-mode", "dir"):
            # Several at once only since Redis 7.
            found |= client.config_get(name)
    assert found == {
        "maxmemory": str(24 * MIB),
        "maxmemory-policy": "allkeys-lfu",
        "save": "",
        "appendonly": "no",
        "protected-mode": "yes",
        "dir": str(redis.directory / "run"),
    }


def test_redis_gives_up_answers_instead_of_refusing_new_ones(redis: Running) -> None:
    """Twice as much as fits: every write is taken, the memory stays below the limit of the container."""
    answer = os.urandom(16 * 1024)
    with redis.client() as client:
        for number in range(3 * 1024):
            assert client.set(f"sibyl:answer:{number}", answer, px=3_600_000)
        memory: Any = client.info("memory")
        stats: Any = client.info("stats")
        held = client.dbsize()
    assert stats["evicted_keys"] > 1000
    assert 500 < int(str(held)) < 1600
    assert memory["used_memory"] <= 25 * MIB
    assert memory["used_memory_rss"] < 32 * MIB, "the container would be killed"
    assert not (redis.directory / "run" / "dump.rdb").exists()


def test_a_secret_without_a_password_is_told_and_opens_nothing(tmp_path: Path) -> None:
    running = start(tmp_path, objects()["ConfigMap"]["data"], password="")
    assert running.process.wait(20) == 1
    assert running.log == "the Secret of the cache holds no password\n"
