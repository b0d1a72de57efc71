"""Which changes of a condition are worth an Event: transitions only, each once, and flapping is not repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

ABNORMAL_WHEN_TRUE: Final = frozenset({"Stalled"})
# What every start and every rollout passes through: worth knowing, no reason to worry.
IN_PROGRESS: Final = frozenset(
    {
        "CacheMissing",
        "CacheStarting",
        "DatabaseMissing",
        "DatabaseStarting",
        "DeploymentMissing",
        "OldConfiguration",
        "PodsNotAnswering",
        "ReplicaStarting",
        "ReplicasUnavailable",
        "RolloutInProgress",
    }
)
WITHOUT_EVENTS: Final = frozenset({"Reconciling"})
QUIET_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Transition:
    """One Event to post; `type` is Normal or Warning."""

    condition: str
    type: str
    reason: str
    message: str


def transitions(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> tuple[Transition, ...]:
    """Conditions whose status changed, as written to the API: by type, status, reason and message.

    An Unknown is no news, and neither is a condition that is merely absent now: Ready tells that all is well.
    """
    known = {condition["type"]: condition["status"] for condition in before}
    found: dict[tuple[str, str], Transition] = {}
    for condition in after:
        changed = condition["status"] not in ("Unknown", known.get(condition["type"], "Unknown"))
        if changed and condition["type"] not in WITHOUT_EVENTS:
            # Ready and Stalled repeat what the condition that they sum up says: one Event is enough.
            found.setdefault((condition["reason"], condition["message"]), _transition(condition))
    return tuple(found.values())


def _transition(condition: Mapping[str, Any]) -> Transition:
    kind = condition["type"]
    good = (condition["status"] == "True") != (kind in ABNORMAL_WHEN_TRUE)
    normal = good or condition["reason"] in IN_PROGRESS
    return Transition(kind, "Normal" if normal else "Warning", condition["reason"], condition["message"])


@dataclass
class EventFilter:
    """Holds back an Event that was posted about the same object within the last `quiet` seconds."""

    seconds: Callable[[], float]
    quiet: float = QUIET_SECONDS
    _posted: dict[tuple[str, str, str, str], float] = field(default_factory=dict)

    def fresh(self, uid: str, found: Sequence[Transition]) -> tuple[Transition, ...]:
        """Those to post now; they count as posted."""
        now = self.seconds()
        self._posted = {seen: at for seen, at in self._posted.items() if now - at < self.quiet}
        news = tuple(t for t in found if (uid, t.condition, t.type, t.reason) not in self._posted)
        self._posted.update({(uid, t.condition, t.type, t.reason): now for t in news})
        return news
