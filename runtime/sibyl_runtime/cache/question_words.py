"""English words that frame a question without changing what it asks, and those that mean the same.

What is listed here is let through by the guard of the semantic cache, so a doubtful word is not listed. All is lower
case. `no`, `not`, `should`, `my`, prepositions and tenses are content: each changes an answer.
"""

from __future__ import annotations

from typing import Final

Words = tuple[str, ...]

ARTICLES: Final = frozenset({"a", "an", "the"})
DROPPED_ARTICLE: Final = "the"
"""Not `a`: it may be a name, as in `vitamin a`."""
COPULAS: Final = frozenset({"is", "was"})
QUESTION_WORDS: Final = frozenset({"what", "how", "why", "when", "where", "who", "whose", "which"})

SAME_FORM: Final = {"an": "a", "are": "is", "were": "was", "does": "do", "has": "have", "which": "what"}
"""The number of a verb says nothing that its noun does not say."""

CONTRACTIONS: Final[dict[str, Words]] = {
    "what's": ("what", "is"),
    "where's": ("where", "is"),
    "who's": ("who", "is"),
    "how's": ("how", "is"),
    "when's": ("when", "is"),
    "why's": ("why", "is"),
    "what're": ("what", "are"),
    "it's": ("it", "is"),
    "that's": ("that", "is"),
    "there's": ("there", "is"),
    "i'm": ("i", "am"),
    "i'd": ("i", "would"),
    "can't": ("can", "not"),
    "cannot": ("can", "not"),
    "won't": ("will", "not"),
    "shan't": ("shall", "not"),
    "ain't": ("is", "not"),
}


def _phrases(*lines: str) -> tuple[Words, ...]:
    """Longest first, so that none hides another one."""
    return tuple(sorted((tuple(line.split()) for line in lines), key=len, reverse=True))


STARTS: Final = _phrases(
    *(
        f"{asking}{please}{telling}"
        for asking in ("", "can you ", "could you ", "would you ", "will you ")
        for please in ("", "please ")
        for telling in ("tell me", "explain", "explain to me", "describe", "show me", "let me know")
    ),
    "i want to know",
    "i would like to know",
    "i need to know",
    "do you know",
    "i wonder",
)
"""Said before a question that begins with a question word."""

HOW_TO: Final = _phrases(
    *(f"how {verb} {who}" for verb in ("do", "can", "could", "would", "might") for who in ("i", "we", "one")),
    "how to",
    "how i can",
    "how we can",
    "how one can",
    "what is way to",
    "what is procedure to",
    "what is steps to",
    "in what way can i",
)
"""Ways to ask for a way; written as they are after SAME_FORM and without `the`. Not `how do you`: it may ask what the
one who is asked does, as in `How do you handle refunds?`."""

BOUNDARIES: Final = frozenset(
    {
        *ARTICLES, *QUESTION_WORDS, "is", "are", "was", "were", "be", "been", "do", "does", "did", "has", "have", "had",
        "can", "could", "will", "would", "shall", "should", "may", "might", "must", "not", "no", "never", "and", "or",
        "but", "if", "than", "then", "as", "so", "that", "this", "these", "those", "of", "to", "from", "in", "on", "at",
        "by", "for", "with", "without", "into", "onto", "over", "under", "above", "below", "before", "after", "between",
        "during", "until", "since", "through", "against", "about", "per", "via", "within", "i", "you", "we", "they",
        "he", "she", "it", "my", "your", "our", "their", "his", "her", "its", "one", "me", "us", "them", "him", "when",
    }
)  # fmt: skip
"""Words that are no part of the name of a thing."""

UNCHANGED_IN_THE_PLURAL: Final = frozenset(
    {
        "aids", "alias", "corps", "lens", "new", "news", "good", "goods", "mean", "means", "custom", "customs", "glass",
        "glasses", "odd", "odds", "short", "shorts", "brief", "briefs", "green", "greens", "spirit", "spirits", "look",
        "looks", "people", "peoples",
        "arms", "force", "forces", "manner", "manners", "physic", "physics", "statistic", "statistics", "sometime",
        "sometimes", "premise", "premises", "saving", "savings", "earning", "earnings", "cloth", "clothes", "other",
        "others", "string", "strings", "time", "times", "http", "https", "ldap", "ldaps", "smtp", "smtps", "imap",
        "imaps", "ftp", "ftps", "mqtt", "mqtts", "amqp", "amqps", "coap", "coaps", "nntp", "nntps", "sip", "sips",
        "stun", "stuns", "content", "contents", "minute", "minutes", "term", "terms", "right", "rights", "remain",
        "remains", "afterward", "beside", "besides", "damage", "damages", "asset", "window", "windows", "pant", "pants",
    }
)  # fmt: skip
"""Words whose `s` makes another word of them."""

SYNONYMS: Final[dict[str, str]] = {
    word: group[0]
    for group in (
        ("begin", "start"),
        ("buy", "purchase"),
        ("car", "automobile"),
        ("colour", "color"),
        ("config", "configuration"),
        ("database", "db"),
        ("delete", "remove"),
        ("docs", "documentation"),
        ("email", "e-mail"),
        ("film", "movie"),
        ("fix", "repair"),
        ("info", "information"),
        ("maximum", "max"),
        ("minimum", "min"),
        ("doctor", "physician"),
        ("repo", "repository"),
        ("allowed", "permitted"),
        ("prohibited", "forbidden"),
        ("sofa", "couch"),
        ("Kubernetes", "k8s"),
        ("okay", "ok"),
        ("normalise", "normalize"),
        ("organisation", "organization"),
        ("behaviour", "behavior"),
        ("centre", "center"),
        ("licence", "license"),
        ("customise", "customize"),
        ("optimise", "optimize"),
        ("initialise", "initialize"),
        ("serialise", "serialize"),
    )
    for word in group
}
"""Words that mean the same wherever they stand, each with one for its group."""
