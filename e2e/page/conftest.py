"""Debian's Chromium without a window, in an empty profile of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.support.openai_server import openai_process as openai_process
from tests.support.openai_server import openai_server as openai_server
from tests.support.postgres import postgres_server as postgres_server

_CHROMIUM = Path("/usr/bin/chromium")
_DRIVER = Path("/usr/bin/chromedriver")
_SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=900,1200",
)  # fmt: skip


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A browser that has seen nothing yet."""
    options = ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for switch in (*_SWITCHES, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(str(_DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()
