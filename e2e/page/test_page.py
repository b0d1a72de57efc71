"""The page at `/` in a real browser, over the real program with the real model and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.openai_server import OpenAIServer, refusal, silence
from tests.support.postgres import PostgresServer
from tests.support.sibyl import Serving, serving, sibyl

KEY = "the-key-of-the-page-test-0123456789"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
DOCUMENTS = {
    "birds.md": "# Birds\n\nThe Arctic tern flies from the Arctic to the Antarctic and back each year.\n",
    "bread.md": f"# Bread\n\nSourdough needs a starter that is fed every day. {HOSTILE}\n",
}
QUESTION = "Which bird flies from pole to pole?"
PATIENCE = 30.0


@pytest.fixture(scope="module")
def dsn(postgres_server: PostgresServer) -> Iterator[str]:
    dsn = postgres_server.create_database()
    yield dsn
    postgres_server.drop_database(dsn)


@pytest.fixture(scope="module")
def folder(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose documents have been ingested into the database."""
    folder = tmp_path_factory.mktemp("page")
    documents = folder / "documents"
    documents.mkdir()
    for name, text in DOCUMENTS.items():
        (documents / name).write_text(text)
    file = write_workspace(folder)
    done = sibyl("ingest", "-f", file, documents, cwd=folder, environ={"DATABASE_URL": dsn})
    assert done.code == 0, done.stderr
    return folder


def write_workspace(folder: Path, llm: dict[str, Any] | None = None, **mcp: Any) -> Path:
    providers: dict[str, Any] = {"vector_store": {"main": {"kind": "pgvector", "dsn": "${DATABASE_URL}"}}}
    if llm is not None:
        providers["llm"] = {"primary": llm}
    caching = {"infrastructure": {"config": {"caching": {"enabled": True}}}}
    document = {"name": "handbook", "providers": providers, "shops": caching, "mcp": mcp}
    file = folder / "workspace.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


@pytest.fixture(scope="module")
def server(folder: Path, dsn: str) -> Iterator[Serving]:
    file = write_workspace(folder, authentication={"type": "api_key", "keys": ["${PAGE_KEY}"]})
    with serving(file, environ={"DATABASE_URL": dsn, "PAGE_KEY": KEY}) as server:
        yield server


def part(browser: Chrome, name: str) -> WebElement:
    return browser.find_element(By.ID, name)


def asked(browser: Chrome, question: str) -> None:
    """Write the question, press Enter, and wait until the page is at rest again."""
    field = part(browser, "question")
    field.clear()
    field.send_keys(question, Keys.ENTER)
    settled(browser)


def settled(browser: Chrome) -> None:
    WebDriverWait(browser, PATIENCE).until(
        lambda page: (
            part(page, "answer").get_attribute("aria-busy") == "false"
            and (part(page, "facts").text or part(page, "failure").is_displayed())
        )
    )


def facts(browser: Chrome) -> dict[str, str]:
    lines = [pair.text.splitlines() for pair in browser.find_elements(By.CSS_SELECTOR, "#facts div")]
    return {line[0]: " ".join(line[1:]) for line in lines}


def complaints(browser: Chrome) -> list[str]:
    """What the browser itself found wrong, such as a script that the policy kept from running."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]  # the library has no annotation here
    return [entry["message"] for entry in entries if "401" not in entry["message"]]


def signed_in(browser: Chrome, server: Serving) -> None:
    browser.get(server.api)
    part(browser, "key").send_keys(KEY)


def test_an_answer_comes_with_its_sources_its_stages_and_its_cost(browser: Chrome, server: Serving) -> None:
    signed_in(browser, server)
    asked(browser, QUESTION)
    assert not part(browser, "failure").is_displayed(), part(browser, "failure").text
    assert "Arctic tern" in part(browser, "answer").text
    assert browser.title == "handbook"
    assert not part(browser, "tool-row").is_displayed()
    stages = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#stages li > span:first-child")]
    assert stages[:2] == ["embed", "retrieve"]
    sources = browser.find_elements(By.CSS_SELECTOR, "#sources summary")
    assert sources[0].text.startswith("Birds")
    found = facts(browser)
    assert found["Cache"] == "miss"
    assert found["Cost"] == "$0"
    assert found["Time"].endswith("ms")
    asked(browser, QUESTION)
    assert facts(browser)["Cache"] == "hit"
    assert "Arctic tern" in part(browser, "answer").text
    assert complaints(browser) == []


def test_without_a_key_the_page_says_so_and_goes_on_with_one(browser: Chrome, server: Serving) -> None:
    browser.get(server.api)
    asked(browser, QUESTION)
    assert part(browser, "failure").text.startswith(
        "unauthorized: This server needs an API key: send it in the header X-API-Key."
    )
    part(browser, "key").send_keys(KEY)
    asked(browser, QUESTION)
    assert not part(browser, "failure").is_displayed()
    assert "Arctic tern" in part(browser, "answer").text


def test_what_a_document_holds_never_becomes_part_of_the_page(browser: Chrome, server: Serving) -> None:
    signed_in(browser, server)
    asked(browser, "What does a sourdough starter need?")
    for details in browser.find_elements(By.CSS_SELECTOR, "#sources details"):
        browser.execute_script("arguments[0].open = true", details)
    assert HOSTILE in part(browser, "sources").text
    assert browser.title != "owned"
    assert browser.find_elements(By.CSS_SELECTOR, "#result img, #result script") == []


def test_a_question_can_be_stopped(browser: Chrome, folder: Path, dsn: str, openai_server: OpenAIServer) -> None:
    openai_server.reply_with(silence())
    llm = {"kind": "openai", "model": "gpt-4", "api_key": "${LLM_KEY}", "base_url": openai_server.url}
    file = write_workspace(folder, llm)
    with serving(file, environ={"DATABASE_URL": dsn, "LLM_KEY": "x"}) as server:
        browser.get(server.api)
        assert not part(browser, "key-row").is_displayed()
        part(browser, "question").send_keys(QUESTION, Keys.ENTER)
        stop = part(browser, "stop")
        WebDriverWait(browser, PATIENCE).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#stages li"))
        assert stop.is_displayed()
        stop.click()
        WebDriverWait(browser, PATIENCE).until(lambda page: part(page, "send").is_enabled())
        assert not stop.is_displayed()
        assert not part(browser, "failure").is_displayed()


def test_who_stood_in_for_whom_is_shown(browser: Chrome, folder: Path, dsn: str, openai_server: OpenAIServer) -> None:
    openai_server.reply_with(refusal(401))
    file = write_workspace(folder, {"kind": "openai", "model": "gpt-4", "base_url": openai_server.url, "api_key": "k"})
    document = yaml.safe_load(file.read_text())
    document["providers"]["llm"]["backup"] = {"kind": "extractive"}
    asking = {"provider": "primary", "fallback_providers": ["backup"]}
    document["shops"]["ai_generation"] = {"techniques": {"generation": asking}}
    file.write_text(yaml.safe_dump(document))
    with serving(file, environ={"DATABASE_URL": dsn}) as server:
        browser.get(server.api)
        asked(browser, QUESTION)
    assert "Arctic tern" in part(browser, "answer").text
    assert facts(browser)["Fell back"] == "primary → backup"
    assert complaints(browser) == []
