"""Every setting of the operator process, from environment variables and from flags, checked before anything starts."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from sibyl_operator.api.fields import FORMS, IMAGE
from sibyl_operator.api.images import PUBLIC_CACHE, PUBLIC_DATABASE, PUBLIC_RUNTIME, DefaultImages
from sibyl_operator.kube.config import own_namespace
from sibyl_operator.reconcile.intervals import Intervals

PREFIX: Final = "SIBYL_OPERATOR_"
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
# What Kubernetes tells every pod of a namespace about a Service called sibyl-operator, or sibyl-operator-metrics.
SERVICE_LINK: Final = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_|$)|(?<!_HTTP)_PORT$|_PORT_\d+_")
LABEL: Final = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


class SettingsError(Exception):
    """A setting cannot be used; the message names it, what was found and what is allowed."""


@dataclass(frozen=True)
class Settings:
    """Durations are in seconds. Every field can be set as SIBYL_OPERATOR_<FIELD>, like SIBYL_OPERATOR_WORKERS."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to serve; empty for all, which needs cluster-wide RBAC."""
    kubeconfig: str | None = None
    """Path of a kubeconfig; without it $KUBECONFIG, the pod's service account, then ~/.kube/config."""
    workers: int = 16
    """Workspaces that are reconciled at the same time."""
    request_timeout: float = 30.0
    """How long one request to the API server may take."""
    leader_elect: bool = True
    """Hold a Lease while working, so that a second replica can stand by."""
    lease_namespace: str = field(default_factory=lambda: own_namespace() or "default")
    lease_name: str = "sibyl-operator"
    lease_duration: float = 15.0
    """A Lease not renewed for so long may be taken over."""
    renew_deadline: float = 10.0
    """A leader that could not renew for so long ends."""
    retry_period: float = 2.0
    """Pause between two tries to take or renew the Lease."""
    identity: str = field(default_factory=lambda: os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}")
    """Who holds the Lease; unique to each process."""
    http_host: str = "0.0.0.0"
    http_port: int = 8080
    """/healthz, /readyz and /metrics; 0 takes a free port."""
    log_level: str = "INFO"
    log_format: str = "json"
    """json or text."""
    shutdown_grace: float = 20.0
    """How long passes under way may go on after a signal to stop."""
    waiting_interval: float = Intervals.waiting
    scrape_interval: float = Intervals.scrape
    blocked_interval: float = Intervals.blocked
    resync_interval: float = Intervals.resync
    reconcile_deadline: float = Intervals.deadline
    kpi_window: float = 300.0
    """The indicators of a workspace cover so much of the past."""
    runtime_image: str = PUBLIC_RUNTIME
    """Image of runtime pods whose workspace names none."""
    database_image: str = PUBLIC_DATABASE
    """Image of Builtin databases whose workspace names none."""
    cache_image: str = PUBLIC_CACHE
    """Image of Builtin caches whose workspace names none."""

    @property
    def images(self) -> DefaultImages:
        """The images of the engine."""
        return DefaultImages(runtime=self.runtime_image, database=self.database_image, cache=self.cache_image)

    @property
    def intervals(self) -> Intervals:
        """The intervals of the engine."""
        return Intervals(
            waiting=self.waiting_interval,
            scrape=self.scrape_interval,
            blocked=self.blocked_interval,
            resync=self.resync_interval,
            deadline=self.reconcile_deadline,
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **flags: Any) -> Settings:
        """Defaults, overridden by the environment, overridden by the flags that are not None.

        Raises SettingsError, also for a variable with our prefix that no setting has: a typing error is not ignored.
        """
        known = {setting.name for setting in fields(cls)}
        found: dict[str, Any] = {}
        for variable, text in sorted(environ.items()):
            if variable.startswith(PREFIX) and text != "" and not SERVICE_LINK.search(variable):
                name = variable.removeprefix(PREFIX).lower()
                if name not in known:
                    allowed = ", ".join(PREFIX + each.upper() for each in sorted(known))
                    raise SettingsError(f"{variable} is not a setting; the settings are: {allowed}")
                found[name] = _parse(variable, _default_of(cls, name), text)
        found.update({name: value for name, value in flags.items() if value is not None})
        return checked(replace(cls(), **found))


def checked(settings: Settings) -> Settings:
    """The settings, if they make sense together. Raises SettingsError."""
    for name in (
        "request_timeout",
        "lease_duration",
        "renew_deadline",
        "retry_period",
        "shutdown_grace",
        "reconcile_deadline",
    ):
        _require(getattr(settings, name) > 0, name, getattr(settings, name), "a number above 0")
    for name in ("waiting", "scrape", "blocked", "resync"):
        value = getattr(settings, f"{name}_interval")
        _require(value > 0, f"{name}_interval", value, "a number above 0")
    least = 2 * settings.scrape_interval
    _require(settings.kpi_window >= least, "kpi_window", settings.kpi_window, f"{least:g} or more: two scrapes")
    for name in ("runtime_image", "database_image", "cache_image"):
        _require(bool(re.match(IMAGE, getattr(settings, name))), name, getattr(settings, name), FORMS[IMAGE])
    _require(1 <= settings.workers <= 256, "workers", settings.workers, "1 to 256")
    _require(0 <= settings.http_port <= 65535, "http_port", settings.http_port, "0 to 65535")
    _require(settings.log_level in LOG_LEVELS, "log_level", settings.log_level, ", ".join(LOG_LEVELS))
    _require(settings.log_format in ("json", "text"), "log_format", settings.log_format, "json, text")
    for namespace in (*settings.namespaces, settings.lease_namespace):
        _require(bool(LABEL.match(namespace)), "namespaces", namespace, "names of namespaces")
    if not settings.lease_duration > settings.renew_deadline > settings.retry_period:
        raise SettingsError(
            f"lease_duration ({settings.lease_duration:g}) must be longer than renew_deadline "
            f"({settings.renew_deadline:g}), and that longer than retry_period ({settings.retry_period:g})"
        )
    return settings


def _require(holds: bool, name: str, found: object, allowed: str) -> None:
    if not holds:
        raise SettingsError(f"{PREFIX}{name.upper()}: found {found!r}, allowed: {allowed}")


def _default_of(cls: type[Settings], name: str) -> Any:
    return getattr(cls, name, "")


def _parse(variable: str, default: Any, text: str) -> Any:
    """Read a text as the type of the default. Raises SettingsError."""
    try:
        return _PARSERS[type(default)](text)
    except ValueError as error:
        raise SettingsError(f"{variable}: found {text!r}, allowed: {error}") from None


def _boolean(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError("true, false")
    return words[text.lower()]


def _number(kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            raise ValueError("a whole number" if kind is int else "a number") from None

    return parse


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


_PARSERS: Final[Mapping[type, Callable[[str], Any]]] = {
    bool: _boolean,
    int: _number(int),
    float: _number(float),
    str: str,
    tuple: _names,
    type(None): str,
}
