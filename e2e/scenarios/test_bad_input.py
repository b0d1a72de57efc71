"""Scenario 10: what cannot work is said precisely, with the next step, and recovers when it is mended."""

from __future__ import annotations

from contextlib import suppress
from itertools import count

import httpx
import psycopg

from e2e.node.node import Node
from e2e.scenarios.team import Team, sample, wait_for
from e2e.scenarios.timing import Timings

SMALL_PODS = {"replicas": 1, "resources": {"requests": {"cpu": "100m"}}}


def test_a_document_that_no_schema_can_judge(team: Team, timings: Timings) -> None:
    workspace = sample("quickstart")
    workspace["spec"]["workspace"]["pipelines"]["search"]["steps"][0]["config"]["top_kk"] = 5
    team.apply(workspace)
    found = team.wait_condition("quickstart", "ConfigValid", "False")
    assert found["message"] == (
        "spec.workspace.pipelines.search.steps[0].config.top_kk: unknown key. Did you mean top_k?"
    )
    assert team.condition("quickstart", "Stalled")["status"] == "True"
    timings.say("10 invalid document", found["message"])
    team.kubectl("delete", "swk", "quickstart")
    team.apply(sample("quickstart"))
    team.wait_ready("quickstart")


def test_a_missing_secret(team: Team, timings: Timings) -> None:
    external = {"provider": "External", "external": {"secretRef": {"name": "our-database"}}}
    team.apply(sample("quickstart", rename="docs", runtime=SMALL_PODS, database=external))
    found = team.wait_condition("docs", "DatabaseReady", "False", reason="SecretNotFound")
    assert "create secret generic our-database --from-literal=" in found["message"]
    timings.say("10 missing Secret", found["message"][:120])
    # Another team's database serves: the Secret is all that was missing.
    team.apply(sample("quickstart", rename="other", runtime=SMALL_PODS))
    team.wait_ready("other")
    team.kubectl("create", "secret", "generic", "our-database", f"--from-literal=dsn={_dsn(team, 'other')}")
    team.wait_ready("docs")


def _dsn(team: Team, workspace: str) -> str:
    import base64

    password = base64.b64decode(team.get("secret", f"{workspace}-db-app")["data"]["password"]).decode()
    return f"postgresql://sibyl:{password}@{workspace}-db-rw.{team.namespace}.svc:5432/sibyl"


def test_an_image_that_cannot_be_pulled(team: Team, timings: Timings) -> None:
    runtime = {**SMALL_PODS, "image": "localhost/no-such-image:1"}
    team.apply(sample("quickstart", runtime=runtime))
    wait_for(
        lambda: team.condition("quickstart", "RuntimeReady").get("reason") in ("ErrImagePull", "ImagePullBackOff"),
        "the image to be missed",
        timeout=120,
    )
    found = team.condition("quickstart", "RuntimeReady")
    assert "spec.runtime.image" in found["message"]
    assert "no-such-image" in found["message"]
    timings.say("10 image that cannot be pulled", found["message"][:120])
    team.patch("quickstart", {"runtime": {"image": None}})
    team.wait_ready("quickstart")


def test_a_full_volume(team: Team, node: Node, timings: Timings) -> None:
    storage = {"size": "96Mi", "storageClassName": "local-limited"}
    database = {"provider": "Builtin", "storage": storage}
    team.apply(sample("quickstart", runtime=SMALL_PODS, database=database))
    team.wait_ready("quickstart")
    address = team.address("quickstart")

    def full() -> bool:
        # Whoever else has the volume: what one writes is missing to the other.
        with suppress(psycopg.Error):
            team.rows("quickstart", "quickstart-db-0", FILL)
        _send(address)
        return team.condition("quickstart", "DatabaseReady").get("reason") == "VolumeFull"

    wait_for(full, "the volume to be full, and said so", timeout=240)
    found = team.condition("quickstart", "DatabaseReady")
    assert "data-quickstart-db-0" in found["message"]
    timings.say("10 full volume", found["message"][:120])
    node.grow_volume(team.namespace, "data-quickstart-db-0", "512Mi")
    wait_for(lambda: _send(address) == 200, "documents to be taken again", timeout=240)
    team.wait_ready("quickstart")


# Eight megabytes of text that does not compress, in pages of one row.
FILL = """
    CREATE TABLE IF NOT EXISTS filler (page text);
    ALTER TABLE filler ALTER COLUMN page SET STORAGE PLAIN;
    INSERT INTO filler SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 200000) AS n GROUP BY n % 1000
"""
_NUMBER = count()


def _send(address: str) -> int:
    """Send a document that is new; the status of the answer, 0 for none."""
    number = next(_NUMBER)
    document = {"id": f"page-{number}", "title": "Page", "text": f"Page number {number} of many. " * 100}
    try:
        response = httpx.post(f"{address}/documents", json={"source": "pages", "documents": [document]}, timeout=60)
    except httpx.HTTPError:
        return 0
    return response.status_code


def test_a_resource_quota_that_is_too_small(team: Team, timings: Timings) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"requests.memory": "256Mi"}},
    }
    team.apply(quota)
    team.apply(sample("quickstart", runtime=SMALL_PODS))
    found = team.wait_condition("quickstart", "RuntimeReady", "False", reason="PodsRefused", timeout=90)
    assert "small" in found["message"]
    database = team.wait_condition("quickstart", "DatabaseReady", "False", reason="PodsMissing", timeout=90)
    assert "ResourceQuota" in database["message"]
    timings.say("10 quota too small", found["message"][:120])
    team.kubectl("delete", "resourcequota", "small")
    team.wait_ready("quickstart", timeout=240)
