"""Whether two questions ask the same, by their words alone: the guard in front of every answer that is reused.

A vector cannot tell "enable" from "disable", 16 from 17 or "from A to B" from "from B to A": such pairs are more alike
for a model than most paraphrases are. So nothing is trusted that is not seen here: what is left of two questions, less
what only frames them ("How can I ...", "Please tell me how to ..."), must be the same words in the same order. Numbers,
names, versions, quoted strings, negations, antonyms, tenses and directions are among those words, so that a change of
one is a difference. Upper and lower case differ (`US` and `us`), but in the words of the frame.

Only English is known. In another language nothing is a frame, so that questions are the same when their words are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sibyl_runtime.cache.question_words import (
    BOUNDARIES,
    CONTRACTIONS,
    COPULAS,
    DROPPED_ARTICLE,
    HOW_TO,
    QUESTION_WORDS,
    SAME_FORM,
    STARTS,
    SYNONYMS,
    UNCHANGED_IN_THE_PLURAL,
)

Words = tuple[str, ...]
_TOKEN: Final = re.compile(r'"[^"]*"|`[^`]*`|[^\s"`]+|["`]')
_ENDING: Final = ".,;:"
# Only with the punctuation that sets them off: `How do I say thanks?` is not `How do I say please?`.
_GREETING: Final = re.compile(r"\s*(?:(?:hi|hello|hey)\s*[,!.]\s*)?(?:(?:please|kindly)\b,?\s+)?", re.IGNORECASE)
_THANKS: Final = re.compile(r"(?<=[,.!?])\s*(?:please|thanks|thank you)[\s.!?]*$", re.IGNORECASE)
_SHORTEST_PLURAL: Final = 3
_WITHOUT_DO: Final = frozenset({"how", "why", "when", "where"})


def same_question(one: str, other: str) -> bool:
    """Whether an answer to `one` may be given to who asks `other`. False whenever that is not certain."""
    left, right = content(one), content(other)
    return bool(left) and len(left) == len(right) and all(map(_same_word, left, right))


def content(question: str) -> Words:
    """What a question asks, in one form; nothing for one that is all frame."""
    words = _of_turned(_without_start(_expanded(_words(question))))
    words = tuple(word for word in words if word != DROPPED_ARTICLE)
    begun = (*map(_begun, words[:1]), *words[1:])
    return _asked_directly(_how_to(tuple(map(_in_one_form, begun))))


def _words(question: str) -> list[str]:
    """Words as they are written, less the punctuation of the sentence. A quoted string is one word.

    `?` and `!` end a question; inside of it they belong to their word, as in `int?` or `5!`.
    """
    straight = question.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'})
    asked = _THANKS.sub("", _GREETING.sub("", straight, count=1))
    tokens = _TOKEN.findall(asked.strip(" ,"))
    if tokens and tokens[-1] == "?":
        tokens.pop()
    elif tokens:
        tokens[-1] = _bare(tokens[-1], "?")
    if tokens and tokens[-1][:-1].isalpha():
        tokens[-1] = tokens[-1].rstrip("!")
    return [token if token[0] in '"`' else _bare(token, _ENDING) for token in tokens]


def _bare(token: str, ending: str) -> str:
    """Without the punctuation that ends it, unless it is nothing else: `What does ; do?`"""
    return token.rstrip(ending) or token


def _plain(word: str) -> str:
    """A word of the frame may begin a sentence; any other capital is part of a name."""
    lower = word.lower()
    return lower if word in (lower, lower.capitalize()) else word


def _begun(word: str) -> str:
    """The first word, without the capital of a sentence: `Is` and `The`, but not `Is` within, which may be a title."""
    plain = _plain(word)
    return plain if plain in BOUNDARIES or plain in SAME_FORM else word


def _in_one_form(word: str) -> str:
    return SAME_FORM.get(word, word)


def _expanded(words: Sequence[str]) -> Words:
    """`isn't` is two words, and so is `what's`; the `'s` of an owner stays, for it may be part of a name."""
    expanded: list[str] = []
    for word in words:
        plain = _plain(word)
        if plain in CONTRACTIONS:
            expanded.extend(CONTRACTIONS[plain])
        elif plain.endswith("n't"):
            expanded.extend((plain.removesuffix("n't"), "not"))
        else:
            expanded.append(word)
    return tuple(expanded)


def _without_start(words: Words) -> Words:
    """Without `can you tell me` and the like. `Tell me how` is about `how`; `Show me pods` asks to be shown."""
    rest = _after_one_of(STARTS, words)
    return rest if rest and _plain(rest[0]) in QUESTION_WORDS else words


def _of_turned(words: Words) -> Words:
    """`the capital of France` as `France's capital`. A coffee cup is no cup of coffee, so that nothing else turns.

    Both sides reach to the next word that cannot be part of a name of a thing. More than one `of` is left alone.
    """
    places = [place for place, word in enumerate(words) if _plain(word) == "of"]
    if len(places) != 1:
        return words
    place = places[0]
    start = place
    while start and _plain(words[start - 1]) not in BOUNDARIES:
        start -= 1
    after = place + 1
    if after < len(words) and words[after] == DROPPED_ARTICLE:
        after += 1
    end = after
    while end < len(words) and _plain(words[end]) not in BOUNDARIES:
        end += 1
    # Without an article nothing says where the left side begins: `size` in `change size of heap`.
    named = start > 0 and _plain(words[start - 1]) == DROPPED_ARTICLE
    if not named or start == place or end == after:
        return words
    return (*words[:start], *words[after : end - 1], f"{words[end - 1]}'s", *words[start:place], *words[end:])


def _how_to(words: Words) -> Words:
    rest = _after_one_of(HOW_TO, words)
    return words if rest is None else ("how to", *rest)


def _asked_directly(words: Words) -> Words:
    """`what a pod is` as `what is a pod`, `how does it work` as `how it works`: as they are inside `tell me ...`."""
    if len(words) < 2 or _plain(words[0]) not in QUESTION_WORDS:
        return words
    first, last = _plain(words[0]), _plain(words[-1])
    if last in COPULAS and _plain(words[1]) not in COPULAS:
        return (first, last, *words[1:-1])
    if first in _WITHOUT_DO and _plain(words[1]) == "do":
        return (first, *words[2:])
    return (first, *words[1:])


def _after_one_of(phrases: Sequence[Words], words: Words) -> Words | None:
    return next((rest for phrase in phrases if (rest := _after(phrase, words)) is not None), None)


def _after(phrase: Words, words: Words) -> Words | None:
    if tuple(_plain(word) for word in words[: len(phrase)]) != phrase:
        return None
    return words[len(phrase) :]


def _same_word(one: str, other: str) -> bool:
    if one == other:
        return True
    if SYNONYMS.get(one, one) == SYNONYMS.get(other, other):
        return True
    return _plural_of(one, other) or _plural_of(other, one)


def _plural_of(one: str, many: str) -> bool:
    """Compared as a pair, not by a common stem: stems would make one of `plane` and `plan`, `use` and `us`."""
    if len(one) < _SHORTEST_PLURAL or not (one.isascii() and one.isalpha() and one.islower()):
        return False
    if one in UNCHANGED_IN_THE_PLURAL or many in UNCHANGED_IN_THE_PLURAL or one.endswith("s"):
        return False
    if one.endswith("y") and one[-2] not in "aeiou":
        return many == f"{one[:-1]}ies"
    return many == (f"{one}es" if one.endswith(("x", "z", "ch", "sh")) else f"{one}s")
