"""Which documents are program text, and by which of the readers: the ending of the document's id tells."""

from __future__ import annotations

from pathlib import PurePosixPath

from sibyl_runtime.techniques.splitting.code.blocks import Block
from sibyl_runtime.techniques.splitting.code.indented import indented_blocks
from sibyl_runtime.techniques.splitting.code.python import python_blocks
from sibyl_runtime.techniques.splitting.code.sql import sql_blocks

PYTHON = frozenset({".py", ".pyi"})
SQL = frozenset({".sql"})
BY_LAYOUT = frozenset({
    ".bash", ".c", ".cc", ".cjs", ".clj", ".cpp", ".cs", ".css", ".cxx", ".dart", ".ex", ".exs", ".fs",
    ".go", ".gradle", ".groovy", ".h", ".hcl", ".hh", ".hpp", ".hs", ".java", ".jl", ".js", ".json", ".jsx",
    ".kt", ".kts", ".less", ".lua", ".m", ".mjs", ".ml", ".mm", ".nix", ".php", ".pl", ".pm", ".proto",
    ".ps1", ".r", ".rb", ".rs", ".scala", ".scss", ".sh", ".sol", ".svelte", ".swift", ".tf", ".toml", ".ts",
    ".tsx", ".vb", ".vue", ".xml", ".yaml", ".yml", ".zig", ".zsh",
})  # fmt: skip


def program_blocks(document_id: str, text: str) -> list[Block] | None:
    """The blocks of a document that is program text by its ending; None for any other."""
    ending = PurePosixPath(document_id).suffix.lower()
    if ending in SQL:
        return sql_blocks(text)
    blocks = python_blocks(text) if ending in PYTHON else None
    if blocks is not None:
        return blocks
    return indented_blocks(text) if ending in PYTHON | BY_LAYOUT else None
