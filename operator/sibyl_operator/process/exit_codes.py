"""How the process ended, for whoever restarts it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """2 is left to the command line for wrong usage."""

    STOPPED = 0
    """A signal asked for it, and everything under way was finished."""
    FAILED = 1
    """Something ended that must not: a watcher, a worker, or a part of this program."""
    NO_API_SERVER = 3
    """No kubeconfig and no service account, or they cannot be read."""
    LEADERSHIP_LOST = 4
    """Another process leads, or may lead soon: this one stopped writing at once."""
    PORT_TAKEN = 5
    """The address for /healthz, /readyz and /metrics cannot be listened on."""
