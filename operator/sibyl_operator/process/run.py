"""Composition root: puts the operator together from its settings and runs it to an exit code."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable

from sibyl_operator import __version__
from sibyl_operator.handlers import Watcher
from sibyl_operator.kube import KubeApi, Manifest
from sibyl_operator.kube.client import KubeClient
from sibyl_operator.kube.config import Credentials, KubeconfigError, credentials, load_configuration
from sibyl_operator.observe import Observer
from sibyl_operator.process.exit_codes import ExitCode
from sibyl_operator.process.health import Health, HealthServer, heartbeat
from sibyl_operator.process.lease import LeaderElection, LeaseSpec
from sibyl_operator.process.logs import configure_logging
from sibyl_operator.process.metrics import OperatorMetrics
from sibyl_operator.process.operator import Operator
from sibyl_operator.process.resync import Resync
from sibyl_operator.process.settings import Settings
from sibyl_operator.reconcile.cache import ChildCache
from sibyl_operator.reconcile.clock import SystemClock
from sibyl_operator.reconcile.engine import Reconciler
from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.queue import WorkQueue
from sibyl_operator.reconcile.triggers import Triggers
from sibyl_operator.reconcile.workers import Workers

logger = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Run the operator in the main thread until a signal or a failure; returns the exit code."""
    configure_logging(settings.log_level, settings.log_format)
    metrics, health = OperatorMetrics(), Health()
    try:
        server = HealthServer(settings.http_host, settings.http_port, health, metrics.exposition)
    except OSError as error:
        logger.error("cannot listen on %s:%d: %s", settings.http_host, settings.http_port, error)
        return ExitCode.PORT_TAKEN
    with server:
        host, port = server.address
        where = ", ".join(settings.namespaces) or "all namespaces"
        logger.info("sibyl-operator %s serves %s; health and metrics on %s:%d", __version__, where, host, port)
        code = asyncio.run(_operate(settings, metrics, health))
    logger.info("ended: %s", code.name)
    return code


async def _operate(settings: Settings, metrics: OperatorMetrics, health: Health) -> ExitCode:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    beat = asyncio.create_task(heartbeat(health, "main", metrics.lagged))
    client = KubeClient(
        lambda: load_configuration(settings.kubeconfig),
        timeout=settings.request_timeout,
        connections=2 * settings.workers,
        reporting_instance=settings.identity,
    )
    try:
        async with client as api, Observer(window=settings.kpi_window) as observer:
            return await assemble(settings, api, observer, metrics, health).run(stop)
    except KubeconfigError as error:
        logger.error("%s", error)
        return ExitCode.NO_API_SERVER
    finally:
        beat.cancel()


def assemble(
    settings: Settings, api: KubeApi, observer: Observer, metrics: OperatorMetrics, health: Health
) -> Operator:
    """Wire all parts together; needs a running event loop."""
    loop, clock, cache = asyncio.get_running_loop(), SystemClock(), ChildCache()
    queue: WorkQueue[Key] = WorkQueue(on_wait=metrics.waited, on_retry=metrics.retried)
    metrics.watch_depth(lambda: len(queue))
    triggers = Triggers(queue, cache, metrics)
    engine = Reconciler(
        api, observer, metrics, cache=cache, clock=clock, intervals=settings.intervals, images=settings.images
    )

    def on_event(event: str | None, manifest: Manifest) -> None:
        loop.call_soon_threadsafe(triggers.event, event, manifest)

    def on_beat() -> Awaitable[None]:
        return heartbeat(health, "watcher", lambda _seconds: None)

    async def login() -> Credentials:
        return await credentials(await load_configuration(settings.kubeconfig))

    return Operator(
        queue=queue,
        workers=Workers(queue, engine, metrics, count=settings.workers, deadline=settings.reconcile_deadline),
        resync=Resync(api, cache, queue, triggers, namespaces=settings.namespaces),
        watcher=Watcher(on_event=on_event, on_beat=on_beat, login=login, namespaces=settings.namespaces),
        election=LeaderElection(api, _lease(settings), clock) if settings.leader_elect else None,
        health=health,
        metrics=metrics,
        resync_interval=settings.resync_interval,
        shutdown_grace=settings.shutdown_grace,
    )


def _lease(settings: Settings) -> LeaseSpec:
    return LeaseSpec(
        namespace=settings.lease_namespace,
        name=settings.lease_name,
        identity=settings.identity,
        duration=settings.lease_duration,
        renew_deadline=settings.renew_deadline,
        retry_period=settings.retry_period,
    )
