"""Python by its own parser: classes and functions, with their decorators and the comments right above them."""

from __future__ import annotations

import ast
import copy
import re
import warnings
from collections.abc import Iterator, Sequence

from sibyl_runtime.techniques.splitting.code.blocks import MOST_NESTING, Block, signature, tiled

LONGEST_TEXT = 200_000
"""The parser holds the interpreter for all of its work: a third of a second for this many characters."""

_FILENAME = "<document>"
_NEWLINE = re.compile(r"\r\n|\r|\n")
_COMMENT = re.compile(r"[ \t]*#")

# A document's doubtful escapes are nobody's business here.
warnings.filterwarnings("ignore", category=SyntaxWarning, module=_FILENAME)
warnings.filterwarnings("ignore", category=DeprecationWarning, module=_FILENAME)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def python_blocks(text: str) -> list[Block] | None:
    """The blocks of a Python text; None when it is too long or not valid for the running Python."""
    if len(text) > LONGEST_TEXT:
        return None
    try:
        module = ast.parse(text, _FILENAME)
        return _Reader(text).blocks(module.body, 0, len(text), 1)
    # Nesting beyond the parser's stack is a MemoryError, a NUL or a lone surrogate a ValueError.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [0, *(match.end() for match in _NEWLINE.finditer(text))]

    def blocks(self, body: Sequence[ast.stmt], start: int, end: int, level: int) -> list[Block]:
        """text[start:end], whose statements are `body`, as blocks."""
        return tiled(list(self._definitions(body, start, level)), start, end)

    def _definitions(self, body: Sequence[ast.stmt], after: int, level: int) -> Iterator[Block]:
        for node in body:
            if not isinstance(node, Definition):
                continue
            start = self._first_line(node, after)
            end = self._line(node.end_lineno or node.lineno, past=True)
            if start < after or end <= start:
                continue  # it shares a line with what stands before it
            after = end
            inner = self.blocks(node.body, start, end, level + 1) if level < MOST_NESTING else []
            yield Block(start, end, _signature(node), inner if len(inner) > 1 else ())

    def _first_line(self, node: Definition, after: int) -> int:
        """Where the definition starts, with its decorators and the comment right above."""
        number = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        while number > 1 and self._line(number - 1) >= after and _COMMENT.match(self._text, self._line(number - 1)):
            number -= 1
        return self._line(number)

    def _line(self, number: int, *, past: bool = False) -> int:
        """Where the line of this number, counted from 1, starts or, with `past`, ends."""
        index = number if past else number - 1
        return self._lines[index] if index < len(self._lines) else len(self._text)


def _signature(node: Definition) -> str:
    bare = copy.copy(node)
    bare.body, bare.decorator_list = [], []
    return signature(ast.unparse(bare))
