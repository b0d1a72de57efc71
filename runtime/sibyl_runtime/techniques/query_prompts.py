"""What a language model is asked for by each variant of `rag.query_processing`, unless the step has its own prompt."""

from __future__ import annotations

from collections.abc import Mapping

PROMPTS: Mapping[str, str] = {
    "rewriting": (
        "Rewrite the question below as one query for searching documents. Keep names, numbers and what is asked; leave "
        "out greetings and filler; write out what abbreviations and loose words mean. Answer with the query alone, on "
        "one line.\n\nQuestion: {query}\nQuery:"
    ),
    "expansion": (
        "Documents are to be searched for the answer to the question below. List words and short terms that such "
        "documents would use and the question does not: synonyms, technical terms, names. Answer with a JSON list of "
        "at most ten texts and nothing else.\n\nQuestion: {query}"
    ),
    "multi_query": (
        "Write different search queries for the question below, so that documents with other words for the same thing "
        "are found too. Answer with a JSON list of {count} texts and nothing else.\n\nQuestion: {query}"
    ),
    "decomposition": (
        "Split the question below into the simpler questions that must be answered first, each one complete in itself. "
        "Answer with a JSON list of at most {count} texts and nothing else; of a question that is simple already, a "
        "list of that one.\n\nQuestion: {query}"
    ),
    "hyde": (
        "Write a short passage, as it could stand in a document, that answers the question below. Two to five "
        "sentences, no introduction.\n\nQuestion: {query}\nPassage:"
    ),
}
