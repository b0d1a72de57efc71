"""Tells which tiers of tests ran. In CI (CI=true) a test that cannot run is a failure, not a skip."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Timings live in bench/: on a loaded machine an example that takes longer than usual is no finding.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

TIERS = {
    "unit and property": ("workspace", "operator", "house", "fakes", "evaluation", "chart", "images"),
    "runtime (real PostgreSQL, Redis, HTTP, model)": (
        "providers", "extraction", "store", "cache", "pipeline", "techniques", "server", "kpi", "cli", "docs",
        "conformance", "guide",
    ),
    "control plane (real Kubernetes API server)": ("controlplane",),
    "torch (sentence-transformers)": ("torch",),
    "load (200 clients for a minute)": ("load",),
}  # fmt: skip
ONLY_WHEN_NAMED = ("torch", "load")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tiers", action="store_true", help="print which tiers ran")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What runs only when it is named: tests/torch needs a venv of its own, tests/load the machine for itself."""
    tier = collection_path.name
    named = any(f"tests/{tier}" in argument for argument in config.args)
    return True if tier in ONLY_WHEN_NAMED and not named else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: cannot run here, and in CI that is a failure: {reason}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line per tier: how many of its tests passed, failed and were skipped."""
    if not config.getoption("--tiers"):
        return
    counts: dict[str, Counter[str]] = {tier: Counter() for tier in TIERS}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if (tier := _tier(report.nodeid)) is not None:
                counts[tier][outcome] += 1
    terminalreporter.section("tiers")
    for tier, found in counts.items():
        result = ", ".join(f"{number} {outcome}" for outcome, number in found.items()) or "not run"
        terminalreporter.write_line(f"  {tier:<48} {result}")


def _tier(nodeid: str) -> str | None:
    parts = Path(nodeid.split("::")[0]).parts
    folder = parts[1] if len(parts) > 2 else ""
    return next((tier for tier, folders in TIERS.items() if folder in folders), None)
