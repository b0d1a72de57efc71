"""Program text is cut between definitions, and every piece of a long one says what it is a piece of."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sibyl_runtime.providers.embedding import LocalEmbedder
from sibyl_runtime.store.records import Document
from sibyl_runtime.techniques.splitting.chunker import Chunker, PlannedChunk
from sibyl_runtime.techniques.splitting.code.blocks import Block
from sibyl_runtime.techniques.splitting.code.languages import program_blocks
from sibyl_runtime.techniques.splitting.code.python import LONGEST_TEXT, python_blocks

BODY = "\n".join(f"{{indent}}total = total + number * {number}" for number in range(6))

TABBED = BODY.format(indent="\t")


def cut(
    embedder: LocalEmbedder, document_id: str, text: str, size: int, subtechnique: str = "code"
) -> list[PlannedChunk]:
    chunker = Chunker(embedder.tokenize, subtechnique=subtechnique, chunk_size=size, chunk_overlap=0)
    return chunker.chunks(Document(document_id, "s", "", text), markdown=False)


PYTHON = f'''"""A module."""

import os


@decorated
def first(number: int,
          total: int = 0) -> int:
{BODY.format(indent="    ")}
    return total


# Why the second one is there.
async def second(number):
{BODY.format(indent="    ")}


class Account(Base):
    """An account."""

    rate = 1

    def pay(self, number):
{BODY.format(indent="        ")}

    def close(self, number):
{BODY.format(indent="        ")}
'''


def test_python_is_cut_between_definitions_with_their_decorators_and_comments(embedder: LocalEmbedder) -> None:
    chunks = cut(embedder, "accounts.py", PYTHON, 75)
    assert [(planned.chunk.heading, planned.chunk.content.split("\n")[0]) for planned in chunks] == [
        ("", '"""A module."""'),
        ("", "@decorated"),
        ("", "# Why the second one is there."),
        ("class Account(Base)", "class Account(Base):"),
        ("class Account(Base)", "    def close(self, number):"),
    ]
    assert chunks[3].text.startswith("class Account(Base):"), "what the chunk shows is not repeated"
    assert chunks[4].text.startswith("class Account(Base)\n    def close(self, number):")


def test_a_long_function_names_its_class_and_itself_in_every_piece(embedder: LocalEmbedder) -> None:
    chunks = cut(embedder, "accounts.py", PYTHON, 45)
    pieces = [planned for planned in chunks if planned.chunk.heading == "class Account(Base) > def close(self, number)"]
    assert len(pieces) > 1
    assert pieces[0].text.startswith("class Account(Base)\n    def close(self, number):")
    assert all(
        piece.text.startswith("class Account(Base) > def close(self, number)\n        total") for piece in pieces[1:]
    )
    signatures = {planned.chunk.heading for planned in chunks}
    assert "def first(number: int, total: int=0) -> int" in signatures
    assert "async def second(number)" in signatures


def test_definitions_that_fit_together_share_a_chunk(embedder: LocalEmbedder) -> None:
    text = "\n\n".join(f"def f{number}():\n    return {number}" for number in range(40))
    chunks = cut(embedder, "a.py", text, 64)
    assert all(planned.chunk.content.startswith("def f") for planned in chunks)
    assert 4 < len(chunks) < 20


GO = f"""package accounts

import "fmt"

// Pay pays.
func (a *Account) Pay(number int) int {{
{TABBED}
}}

func (a *Account) Close(number int) int {{
{TABBED}
}}
"""

JAVA = f"""@Service
public class Account
{{
    // Pays.
    public int pay(int number) {{
{BODY.format(indent="        ")}
    }}

    public int close(int number) {{
{BODY.format(indent="        ")}
    }}
}}
"""

YAML = """# The server.
server:
  port: 80
  host: example
---
store:
  name: one
"""


def test_other_languages_are_cut_by_their_layout(embedder: LocalEmbedder) -> None:
    assert [
        (planned.chunk.heading, planned.chunk.content.split("\n")[0]) for planned in cut(embedder, "a.go", GO, 70)
    ] == [
        ("", "package accounts"),
        ("", "// Pay pays."),
        ("", "func (a *Account) Close(number int) int {"),
    ]
    java = [
        (planned.chunk.heading, planned.chunk.content.split("\n")[0]) for planned in cut(embedder, "A.java", JAVA, 70)
    ]
    assert java == [
        ("public class Account", "@Service"),
        ("public class Account", "    public int close(int number) {"),
    ]
    assert [planned.chunk.content for planned in cut(embedder, "a.yaml", YAML, 20)] == [
        "# The server.\nserver:\n  port: 80\n  host: example",
        "---\nstore:\n  name: one",
    ]


SQL = """-- Accounts; all of them.
CREATE TABLE accounts (name text DEFAULT ';');
INSERT INTO accounts VALUES ('it''s; so');  -- done; really
CREATE FUNCTION pay() RETURNS int AS $body$ BEGIN; RETURN 1; END; $body$ LANGUAGE plpgsql;
SELECT "a;b" FROM accounts /* not; here */ WHERE true
"""


def test_sql_is_cut_between_statements(embedder: LocalEmbedder) -> None:
    statements = [planned.chunk.content for planned in cut(embedder, "notes", SQL, 36, "sql")]
    assert statements == [
        "-- Accounts; all of them.\nCREATE TABLE accounts (name text DEFAULT ';');",
        "INSERT INTO accounts VALUES ('it''s; so');  -- done; really",
        "CREATE FUNCTION pay() RETURNS int AS $body$ BEGIN; RETURN 1; END; $body$ LANGUAGE plpgsql;",
        'SELECT "a;b" FROM accounts /* not; here */ WHERE true',
    ]
    assert [planned.chunk.content for planned in cut(embedder, "a.sql", SQL, 36)] == statements


def test_a_long_statement_names_itself_in_every_piece(embedder: LocalEmbedder) -> None:
    columns = ",\n".join(f"  column_{number} integer NOT NULL" for number in range(30))
    chunks = cut(embedder, "a.sql", f"-- Wide.\nCREATE TABLE wide (\n{columns}\n);", 64)
    assert len(chunks) > 3
    assert all(planned.text.startswith("CREATE TABLE wide (\n") for planned in chunks[1:])
    assert all(planned.chunk.content.startswith("  column_") for planned in chunks[1:])


@pytest.mark.parametrize("document_id", ["README.md", "notes.txt", "plain", "v1.2", "a.jsonl:3"])
def test_what_is_no_program_text_is_cut_as_markdown_would(embedder: LocalEmbedder, document_id: str) -> None:
    text = "# One\n\nFirst.\n\n# Two\n\nSecond."
    assert program_blocks(document_id, text) is None
    chunker = Chunker(embedder.tokenize, subtechnique="code", chunk_size=64, chunk_overlap=0)
    chunks = chunker.chunks(Document(document_id, "s", "", text), markdown=True)
    assert [planned.chunk.heading for planned in chunks] == ["One", "Two"]


@pytest.mark.parametrize(
    "text",
    [
        "def f(:\n  pass",
        "print 'two'\n",
        "x = 1\0",
        "\ud800",
        "-" * 100_000 + "1",
        "a" + ".b" * 100_000,
        "x\n" * LONGEST_TEXT,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_python_that_cannot_be_parsed_is_cut_by_its_layout(text: str) -> None:
    assert python_blocks(text) is None
    blocks = program_blocks("a.py", text)
    assert blocks is not None
    assert tiles(blocks, 0, len(text))


def test_doubtful_escapes_of_a_document_are_not_told() -> None:
    program = (
        "from sibyl_runtime.techniques.splitting.code.python import python_blocks;"
        "print(len(python_blocks('def f():\\n    return \"\\\\d\" is 1\\n\\ndef g(): pass\\n')))"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"
    assert "<document>" not in done.stderr


@pytest.mark.parametrize(("document_id", "text"), [("a.py", PYTHON), ("a.go", GO), ("a.java", JAVA), ("a.sql", SQL)])
def test_blocks_leave_no_gap_on_any_level(document_id: str, text: str) -> None:
    blocks = program_blocks(document_id, text)
    assert blocks is not None
    assert tiles(blocks, 0, len(text))


def tiles(blocks: list[Block], start: int, end: int) -> bool:
    for block in blocks:
        assert block.start == start
        assert block.end > start
        assert not block.inner or tiles(list(block.inner), block.start, block.end)
        start = block.end
    return start == end
