"""One model cache for all tests here."""

from __future__ import annotations

from tests.providers.embedding.conftest import model_cache as model_cache
