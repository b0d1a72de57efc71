"""Everything here renders the chart with the real Helm, which is built once, before the first test."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from e2e.cluster.binaries import ensure_tool

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    """A cold build takes minutes, more than a test's time limit allows."""
    if session.config.option.collectonly or not any(item.path.is_relative_to(HERE) for item in session.items):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with nullcontext() if capture is None else capture.global_and_fixture_disabled():
        ensure_tool("helm")
