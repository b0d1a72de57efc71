"""The Kubernetes operator of Sibyl: one SibylWorkspace in, a running, measured RAG service out."""

__version__ = "0.1.0"
