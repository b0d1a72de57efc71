"""Scenario 3: a change of configuration under load fails no request; one that cannot start takes no pod down."""

from __future__ import annotations

from e2e.node.node import Node
from e2e.scenarios.load import k6, k6_figures
from e2e.scenarios.team import Team, sample, wait_for
from e2e.scenarios.timing import Timings


def steps(top_k: int) -> dict[str, object]:
    return {
        "workspace": {
            "pipelines": {
                "search": {
                    "steps": [
                        {"use": "rag.retrieval", "config": {"top_k": top_k}},
                        {"use": "ai_generation.generation"},
                    ]
                }
            }
        }
    }


def test_a_new_top_k_rolls_out_without_a_failed_request(team: Team, node: Node, timings: Timings) -> None:
    team.apply(sample("quickstart"))
    team.wait_ready("quickstart")
    team.ingest("quickstart")
    before = {pod["metadata"]["name"] for pod in team.pods("quickstart")}
    summary = node.work / "k6-change.json"
    messages: set[str] = set()

    def applied() -> bool:
        condition = team.condition("quickstart", "ConfigApplied")
        if condition.get("status") == "False":
            messages.add(condition["message"])
        now = {pod["metadata"]["name"] for pod in team.pods("quickstart")}
        return condition.get("status") == "True" and not now & before and bool(messages)

    with k6(node.tool("k6"), team.address("quickstart"), stages=("5s:10", "50s:10"), summary=summary) as load:
        team.ask("quickstart", "What is a workspace?")
        team.patch("quickstart", steps(3))
        took = wait_for(applied, "the new configuration in every pod", timeout=120)
        assert load.poll() is None, "the load ended before the rollout did"
    figures = k6_figures(summary)
    timings.seconds("3  top_k changed to ConfigApplied under load", took)
    said = f"{figures['requests']} requests, {figures['failed']} failed, p95 {figures['p95']:.3f} s"
    timings.say("3  k6 meanwhile", said)
    assert figures["failed"] == 0, figures
    assert figures["checks_failed"] == 0, figures
    assert any(name in message for message in messages for name in before), messages
    assert len(team.ask("quickstart", "What is a condition?")["output"]["sources"]) == 3


def test_a_change_that_cannot_start_leaves_the_old_pods_serving(team: Team, timings: Timings) -> None:
    team.apply(sample("quickstart"))
    team.wait_ready("quickstart")
    team.ingest("quickstart")
    before = {pod["metadata"]["name"] for pod in team.pods("quickstart")}
    embedding = {"kind": "sentence-transformer", "model": "no-such-model"}
    team.patch("quickstart", {"workspace": {"providers": {"embedding": {"default": embedding}}}})
    took = wait_for(
        lambda: "no-such-model" in team.condition("quickstart", "RuntimeReady").get("message", ""),
        "the status to say why",
        timeout=120,
    )
    timings.seconds("3  a model that is not there, to its name in status", took)
    ready = team.condition("quickstart", "Ready")
    assert ready["status"] == "False"
    assert before <= {pod["metadata"]["name"] for pod in team.pods("quickstart")}
    assert team.ask("quickstart", "What is a workspace?")["output"]["sources"]
    team.patch("quickstart", {"workspace": {"providers": None}})
    team.wait_ready("quickstart")
