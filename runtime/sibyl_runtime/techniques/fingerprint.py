"""What makes a stored document current: with an equal fingerprint, embedding it again would change nothing."""

from __future__ import annotations

import hashlib
import json

from sibyl_runtime.techniques.documents.events import LoadedDocument
from sibyl_runtime.workspace import ChunkingConfig

RECIPE = 1
"""Raise it when the same document would be cut or embedded differently by a new version: all get replaced then."""


def fingerprint(loaded: LoadedDocument, config: ChunkingConfig, embedder_tag: str) -> str:
    """SHA-256, in hex, over everything that decides what is stored of a document, except its id, whose ending tells
    the language of program text, and its source: it is compared with what is stored under these two.
    """
    document = loaded.document
    chunking: list[object] = [config.subtechnique, config.chunk_size, config.chunk_overlap]
    if config.subtechnique == "semantic":
        chunking.append(config.breakpoint_percentile)
    facts = {
        "recipe": RECIPE,
        "title": document.title,
        "text": document.text,
        "metadata": document.metadata,
        "markdown": loaded.markdown,
        "chunking": chunking,
        "embedder": embedder_tag,
    }
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
