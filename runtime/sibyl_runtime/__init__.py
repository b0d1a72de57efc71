"""The RAG runtime of Sibyl: pipelines of techniques over providers, served over HTTP."""

__version__ = "0.1.0"
