"""What a caller is told of an answer that was kept."""

from __future__ import annotations

from sibyl_runtime.answering import EXACT, Reuse, ToolOutcome
from sibyl_runtime.cli.output import timing_line
from sibyl_runtime.server.reply import cache_header, reply

OUTPUT = {"answer": "yes", "sources": []}
SEMANTIC = Reuse("semantic", 0.971234, "What is TLS?")


def hit(reuse: Reuse | None) -> ToolOutcome:
    return ToolOutcome(OUTPUT, 0, 0.0, (), "hit" if reuse else "miss", 0.01, reuse=reuse)


def test_the_header_tells_of_another_question_and_is_plain_for_the_same_one() -> None:
    assert [cache_header(hit(reuse)) for reuse in (None, EXACT, SEMANTIC)] == [
        "miss",
        "hit",
        "hit; kind=semantic; similarity=0.9712",
    ]


def test_the_metadata_tell_which_question_was_answered() -> None:
    told = [reply("ask", hit(reuse), 0.01, request_id="r")["metadata"] for reuse in (None, EXACT, SEMANTIC)]
    assert [
        {name: metadata.get(name) for name in ("cache", "cache_kind", "similarity", "answered_question")}
        for metadata in told
    ] == [
        {"cache": "miss", "cache_kind": None, "similarity": None, "answered_question": None},
        {"cache": "hit", "cache_kind": "exact", "similarity": None, "answered_question": None},
        {"cache": "hit", "cache_kind": "semantic", "similarity": 0.9712, "answered_question": "What is TLS?"},
    ]


def test_the_command_line_tells_it_too() -> None:
    lines = [timing_line(reply("ask", hit(reuse), 0.01, request_id=None)["metadata"]) for reuse in (EXACT, SEMANTIC)]
    assert "from the cache ·" in lines[0]
    assert "from the cache, as answered for `What is TLS?`, similarity 0.97 ·" in lines[1]
