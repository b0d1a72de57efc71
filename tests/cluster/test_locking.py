from __future__ import annotations

import threading
from pathlib import Path

from e2e.cluster.locking import locked


def test_the_second_waits_says_so_and_gets_the_lock(tmp_path: Path) -> None:
    waiting = threading.Event()
    order: list[str] = []

    def told(line: str) -> None:
        order.append(line)
        waiting.set()

    def second() -> None:
        with locked(tmp_path / "lock", "the bread", told):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock", "the bread", order.append):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["another run is building the bread: waiting for it", "first", "second"]
