"""How soon a workspace is looked at again when nothing happens; settings, so that tests need not wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Intervals:
    """All in seconds."""

    waiting: float = 3.0
    """While a rollout runs or something is awaited: pods are not watched, so they are polled."""
    patience: float = 300.0
    """What has been awaited for longer is polled at the pace of steady state."""
    scrape: float = 15.0
    """At steady state: metrics of the pods, Secrets and ConfigMaps by name, and the database."""
    blocked: float = 60.0
    """After an error that only a change elsewhere can cure and that nothing tells us of."""
    resync: float = 600.0
    """All workspaces are listed and all children compared anew, against lost watch events."""
    deadline: float = 120.0
    """One pass may take no longer."""
