"""The operator as a process: settings, logging, leadership, health, metrics, and an orderly end."""

from sibyl_operator.process.exit_codes import ExitCode
from sibyl_operator.process.run import run
from sibyl_operator.process.settings import Settings, SettingsError

__all__ = ["ExitCode", "Settings", "SettingsError", "run"]
