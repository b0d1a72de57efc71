"""Where time and memory go, of functions whose share is known; and what the flame graphs are."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sibyl_runtime.cli.profilers import Watching, check_output, watching_memory, watching_time
from sibyl_runtime.errors import InvalidParameters, StartupError

Watcher = Callable[[Path], AbstractContextManager[Watching]]
REMOTE = re.compile(r"""(?:src|href)\s*=\s*["']https?://""")


def busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def outer(depth: int) -> None:
    """Calls itself, then works below."""
    if depth:
        outer(depth - 1)
    else:
        busy(0.2)


def holding(size: int) -> int:
    kept = bytearray(size)
    return len(kept)


def test_time_is_counted_where_it_is_spent_and_once_in_a_recursion(tmp_path: Path) -> None:
    with watching_time(tmp_path / "profile.html") as watch:
        with watch.recorder:
            outer(5)
            busy(0.1)
        profile = watch.told()
    found = {function.name: function for function in profile.functions}
    assert found["outer"].total == pytest.approx(0.2, rel=0.5)
    assert found["outer"].own < 0.05
    assert found["busy"].total == pytest.approx(0.3, rel=0.5), "with the clock that it looks at"
    assert found["busy"].total > found["outer"].total
    assert found["busy"].file.endswith("test_profilers.py")
    assert sum(function.own for function in profile.functions) == pytest.approx(profile.amount, rel=0.1)
    assert profile.kind == "seconds"
    assert profile.amount == pytest.approx(0.3, rel=0.5)
    assert [function.total for function in profile.functions] == sorted(
        (function.total for function in profile.functions), reverse=True
    )


def test_memory_is_counted_where_it_is_held(tmp_path: Path) -> None:
    output = tmp_path / "memory.html"
    with watching_memory(output) as watch:
        with watch.recorder:
            assert holding(40_000_000) == 40_000_000
        profile = watch.told()
    first = profile.functions[0]
    assert first.name == "holding"
    assert first.own == pytest.approx(40_000_000, rel=0.01)
    assert profile.amount == pytest.approx(40_000_000, rel=0.1)
    assert "holding" in output.read_text()


async def test_memory_is_counted_on_both_sides_of_an_await(tmp_path: Path) -> None:
    async def later(size: int) -> None:
        await asyncio.sleep(0)
        holding(size)

    with watching_memory(tmp_path / "memory.html") as watch:
        with watch.recorder:
            await later(1_000_000)
            await later(40_000_000)
        found = {function.name: function for function in watch.told().functions}
    assert found["holding"].own == pytest.approx(40_000_000, rel=0.01)
    assert found["later"].total == pytest.approx(40_000_000, rel=0.01)


def test_the_flame_graph_of_time_is_a_page_or_a_file_for_speedscope(tmp_path: Path) -> None:
    page, document = tmp_path / "profile.html", tmp_path / "profile.json"
    for output in (page, document):
        with watching_time(output) as watch:
            with watch.recorder:
                busy(0.02)
            watch.told()
    assert "busy" in page.read_text()
    speedscope = json.loads(document.read_text())
    assert speedscope["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert "busy" in {frame["name"] for frame in speedscope["shared"]["frames"]}


@pytest.mark.parametrize("watching", [watching_time, watching_memory])
def test_a_page_brings_its_scripts_along(tmp_path: Path, watching: Watcher) -> None:
    with watching(tmp_path / "profile.html") as watch:
        with watch.recorder:
            holding(1_000_000)
        watch.told()
    page = (tmp_path / "profile.html").read_text()
    assert len(page) > 50_000
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page)
    assert tags
    assert [tag for tag in tags if REMOTE.search(tag)] == []


def test_an_error_in_the_work_is_passed_on_and_the_next_profile_works(tmp_path: Path) -> None:
    for watching in (watching_time, watching_memory):
        with pytest.raises(KeyError), watching(tmp_path / "profile.html") as watch, watch.recorder:
            raise KeyError("x")
        with watching(tmp_path / "profile.html") as watch:
            with watch.recorder:
                holding(1_000_000)
                busy(0.01)
            assert watch.told().amount > 0


@pytest.mark.parametrize(
    ("watching", "package"), [(watching_time, "pyinstrument"), (watching_memory, "memray")], ids=["time", "memory"]
)
def test_without_the_extra_it_tells_how_to_get_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    watching: Watcher,
    package: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StartupError) as caught, watching(tmp_path / "profile.html"):
        pass
    assert caught.value.message == (
        f"sibyl profile needs {package}, which the extra `profile` brings: pip install 'sibyl-operator[profile]'"
    )


def test_an_output_that_could_not_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    check_output(tmp_path / "a.json", memory=False)
    check_output(tmp_path / "a.html", memory=True)
    with pytest.raises(InvalidParameters, match=r"found .*a\.json; allowed: a name that ends with \.html, \.htm$"):
        check_output(tmp_path / "a.json", memory=True)
    with pytest.raises(InvalidParameters, match=r"ends with \.html, \.htm, \.json"):
        check_output(tmp_path / "a.svg", memory=False)
    with pytest.raises(InvalidParameters, match="there is no directory"):
        check_output(tmp_path / "none" / "a.html", memory=False)
