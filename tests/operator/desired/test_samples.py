"""The samples work, and what they become is in the repository for people to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sibyl_operator.api.scaling import SURGE, replica_bounds
from sibyl_operator.install.generate import HEALTH, RENDERED, SAMPLES, generated_files, write_generated_files
from tests.operator.api.facts import ROOT, valid

PATHS = sorted((ROOT / SAMPLES).glob("*.yaml"))
GUIDES_CONNECTIONS = 200
POSTGRES_CONNECTIONS = 100
RESERVED = 3


def sample(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


@pytest.mark.parametrize(("path", "text"), list(generated_files(ROOT)), ids=lambda found: getattr(found, "name", ""))
def test_every_generated_file_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, "run make generate"


def test_there_is_a_rendering_of_every_sample_and_of_nothing_else() -> None:
    assert [path.name for path in sorted((ROOT / RENDERED).glob("*.yaml"))] == [path.name for path in PATHS]
    assert {"quickstart.yaml", "production.yaml"} <= {path.name for path in PATHS}


@pytest.mark.parametrize(
    ("name", "allowed"), [("quickstart", POSTGRES_CONNECTIONS), ("production", GUIDES_CONNECTIONS)]
)
def test_every_sample_fits_the_database_that_it_is_meant_for(name: str, allowed: int) -> None:
    found = valid(sample(ROOT / SAMPLES / f"{name}.yaml"))
    _, store = found.document.default_vector_store
    pods = replica_bounds(found.spec.runtime).most + SURGE
    assert pods * (store.pool_size + store.max_overflow) <= allowed - RESERVED


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_secret_of_a_sample_is_made_by_a_command_in_its_head(path: Path) -> None:
    head = path.read_text().partition("apiVersion:")[0]
    spec = sample(path)["spec"]
    named = {
        variable["secretKeyRef"]["name"]: variable["secretKeyRef"]["key"]
        for variable in spec["runtime"].get("env", [])
        if "secretKeyRef" in variable
    }
    for part in ("database", "cache"):
        reference = spec.get(part, {}).get("external", {}).get("secretRef")
        if reference:
            named[reference["name"]] = reference.get("key", {"database": "dsn", "cache": "url"}[part])
    for name, key in named.items():
        assert f"kubectl create secret generic {name} " in head
        assert f"--from-literal={key}=" in head


def test_writing_the_generated_files_changes_only_what_differs(tmp_path: Path) -> None:
    samples = tmp_path / SAMPLES
    samples.mkdir(parents=True)
    (samples / "quickstart.yaml").write_text((ROOT / SAMPLES / "quickstart.yaml").read_text())
    (tmp_path / HEALTH).parent.mkdir(parents=True)
    (tmp_path / HEALTH).write_text("return {}")
    # The CRD, the four generated files of the chart, Argo CD's entry, the page of values, one rendering.
    assert len(write_generated_files(tmp_path)) == 8
    assert write_generated_files(tmp_path) == []
    stale = tmp_path / RENDERED / "gone.yaml"
    stale.write_text("left over")
    assert write_generated_files(tmp_path) == [stale]
    assert not stale.exists()
