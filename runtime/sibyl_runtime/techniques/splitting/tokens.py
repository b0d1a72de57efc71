"""A text as the embedding model counts it: positions of tokens, found once, asked often."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from sibyl_runtime.providers.protocols import Token

Tokenize = Callable[[str], Sequence[Token]]

SEGMENT = 16_384
_CJK = ("\u2e80", "\uac00"), ("\uf900", "\ufb00"), ("\U00020000", "\U00040000")


class TokenTable:
    """Where the tokens of `text` start, as character positions, and where words do.

    The text is tokenized in segments cut at white space: a tokenizer's cost and memory stay bounded, and no model
    joins tokens across white space.
    """

    def __init__(self, text: str, tokenize: Tokenize) -> None:
        self.text = text
        self.starts = array("L")
        self.words = array("L")
        for begin, end in _segments(text):
            segment = text[begin:end] if (begin, end) != (0, len(text)) else text
            starts = [token.start for token in tokenize(segment)]
            self.starts.extend([begin + start for start in starts])
            self.words.extend([begin + start for start in starts if _begins_word(text, begin + start)])

    def count(self, begin: int, end: int) -> int:
        """Tokens that start in text[begin:end]."""
        return bisect_left(self.starts, end) - bisect_left(self.starts, begin)

    def reach(self, begin: int, tokens: int) -> int:
        """The farthest end such that text[begin:end] has at most `tokens` tokens."""
        index = bisect_left(self.starts, begin) + tokens
        return self.starts[index] if index < len(self.starts) else len(self.text)

    def back(self, end: int, tokens: int) -> int:
        """The position `tokens` tokens before `end`, not before the text."""
        index = bisect_left(self.starts, end) - tokens
        return self.starts[index] if index > 0 else 0


def _begins_word(text: str, position: int) -> bool:
    if not position:
        return False
    before = text[position - 1]
    return before.isspace() or _is_cjk(before) or _is_cjk(text[position])


def _is_cjk(character: str) -> bool:
    """True for scripts without spaces, whose characters are tokens of their own."""
    return character >= "\u2e80" and any(low <= character < high for low, high in _CJK)


def _segments(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    while len(text) - begin > SEGMENT:
        end = begin + SEGMENT
        space = max(text.rfind(" ", begin, end), text.rfind("\n", begin, end))
        end = space + 1 if space > begin else end
        yield begin, end
        begin = end
    yield begin, len(text)
