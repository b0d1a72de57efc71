"""Metrics: every series that operating the operator needs, and none that outlives its workspace."""

from __future__ import annotations

from sibyl_operator.process.metrics import OperatorMetrics
from sibyl_operator.reconcile.key import Key

A, B = Key("team", "a"), Key("team", "b")


def shown(metrics: OperatorMetrics) -> list[str]:
    return [line for line in metrics.exposition().decode().splitlines() if not line.startswith("#")]


def test_every_promised_series_is_there() -> None:
    metrics = OperatorMetrics()
    metrics.watch_depth(lambda: 7)
    metrics.waited(0.2)
    metrics.retried()
    metrics.leads(True)
    metrics.lagged(0.5)
    metrics.applied("Service", "created")
    metrics.watched("Service")
    metrics.reconciled("ready", 0.03)
    lines = shown(metrics)
    for line in (
        'sibyl_reconcile_total{result="ready"} 1.0',
        'sibyl_reconcile_duration_seconds_bucket{le="0.05"} 1.0',
        "sibyl_workqueue_depth 7.0",
        'sibyl_workqueue_wait_seconds_bucket{le="0.25"} 1.0',
        "sibyl_workqueue_retries_total 1.0",
        'sibyl_apply_total{kind="Service",result="created"} 1.0',
        'sibyl_watch_events_total{kind="Service"} 1.0',
        "sibyl_leader 1.0",
        "sibyl_event_loop_lag_seconds 0.5",
        'sibyl_build_info{version="0.1.0"} 1.0',
    ):
        assert line in lines
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)


def test_a_condition_has_one_series_per_status_and_goes_when_it_is_absent() -> None:
    metrics = OperatorMetrics()
    metrics.conditions(A, [("Ready", "False"), ("Stalled", "True")])
    metrics.conditions(B, [("Ready", "True")])
    metrics.conditions(A, [("Ready", "True")])
    series = [line for line in shown(metrics) if line.startswith("sibyl_workspace_condition{")]
    assert 'sibyl_workspace_condition{name="a",namespace="team",status="True",type="Ready"} 1.0' in series
    assert 'sibyl_workspace_condition{name="a",namespace="team",status="False",type="Ready"} 0.0' in series
    assert not [line for line in series if "Stalled" in line]
    metrics.forget(A)
    metrics.forget(A)
    left = [line for line in shown(metrics) if line.startswith("sibyl_workspace_condition{")]
    assert len(left) == 3
    assert all('name="b"' in line for line in left)


def test_two_operators_in_one_process_do_not_share_series() -> None:
    one, two = OperatorMetrics(), OperatorMetrics()
    one.retried()
    assert "sibyl_workqueue_retries_total 0.0" in shown(two)
