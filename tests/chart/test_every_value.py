"""No value without effect: every leaf of values.yaml is changed, alone, and what is rendered changes with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from e2e.chart import CHART, render_text

DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
DIGEST = f"sha256:{'0' * 64}"
# What no rule can guess: other words of a choice, and one item of what is empty.
CHANGED: dict[str, Any] = {
    "image.digest": DIGEST,
    "image.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "pull"}],
    "watch.namespaces": ["team"],
    "settings.logLevel": "DEBUG",
    "settings.logFormat": "text",
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com"}],
    "resources.requests.cpu": "1",
    "resources.requests.memory": "1Gi",
    "resources.limits.memory": "1Gi",
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}},
    "topologySpreadConstraints": [],
    "metrics.serviceMonitor.mode": "Never",
    "metrics.serviceMonitor.interval": "5m",
    "metrics.serviceMonitor.scrapeTimeout": "1s",
    "networkPolicy.apiServerPorts": [1],
    "networkPolicy.databasePorts": [],
    "networkPolicy.metricsFrom": [{"podSelector": {}}],
    "networkPolicy.extraEgress": [{"ports": [{"port": 1}]}],
}
# A value that shows only beside another one.
BESIDE: dict[str, dict[str, Any]] = {
    "serviceAccount.name": {"serviceAccount": {"create": False}},
}


def leaves(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        place = f"{path}{key}"
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{place}.")
        else:
            yield place, value


def changed(path: str, value: Any) -> Any:
    """Another value of the same type."""
    if path in CHANGED:
        return CHANGED[path]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return "changed" if isinstance(value, str) else {"changed": "yes"}


def with_value(path: str, value: Any, base: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(base)
    *groups, key = path.split(".")
    group = made
    for name in groups:
        group = group.setdefault(name, {})
    group[key] = value
    return made


@cache
def unchanged(beside: str) -> str:
    return rendered(yaml.safe_load(beside))


def rendered(values: dict[str, Any]) -> str:
    return render_text(values, options=("--api-versions", "monitoring.coreos.com/v1/ServiceMonitor"))


LEAVES = list(leaves(DEFAULTS))


def test_there_is_no_change_for_a_value_that_does_not_exist() -> None:
    assert {*CHANGED, *BESIDE} <= {path for path, _ in LEAVES}
    assert len(LEAVES) > 50


@pytest.mark.parametrize(("path", "value"), LEAVES, ids=[path for path, _ in LEAVES])
def test_every_value_takes_effect(path: str, value: Any) -> None:
    beside = BESIDE.get(path, {})
    assert changed(path, value) != value
    assert rendered(with_value(path, changed(path, value), beside)) != unchanged(yaml.safe_dump(beside))
