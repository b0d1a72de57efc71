"""Reading the workspace document for a command, and finding the settings of this machine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from sibyl_runtime.settings import Settings
from sibyl_runtime.workspace import SourceDocument, load_document


def read_document(file: Path) -> SourceDocument:
    """The document in `file`. Raises WorkspaceInvalid, also for a file that cannot be read."""
    return load_document(file)


def settings_for(data_directory: Path | None) -> Settings:
    """The settings from the environment, with the data directory given on the command line."""
    settings = Settings.from_environment(os.environ)
    return settings if data_directory is None else replace(settings, data_directory=data_directory)
