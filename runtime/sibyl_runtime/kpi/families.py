"""Metric families whose children are looked up once: `labels()` of the library costs more than the count itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Family = TypeVar("Family", Counter, Gauge, Histogram)


class Children(Generic[Family]):
    """The children of one labelled family, by label values in the order of its label names."""

    def __init__(self, family: Family) -> None:
        self._family: Family = family
        self._children: dict[tuple[str, ...], Family] = {}

    def of(self, *values: str) -> Family:
        """The child with these label values; created, at zero, when it is first asked for."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._family.labels(*values) if values else self._family
        return child

    def create(self, *choices: Sequence[str]) -> None:
        """Create the children of every combination of the choices, so that each begins at zero."""
        for values in product(*choices):
            self.of(*values)


class Families:
    """Makes families in one registry. `latency_buckets` are the edges, in seconds, of every histogram."""

    def __init__(self, registry: CollectorRegistry, latency_buckets: Sequence[float]) -> None:
        self.registry = registry
        self._buckets = tuple(latency_buckets)

    def counter(self, name: str, text: str, *labels: str) -> Children[Counter]:
        """A counter; `name` ends in _total."""
        return Children(Counter(name, text, labels, registry=self.registry))

    def latency(self, name: str, text: str, *labels: str) -> Children[Histogram]:
        """A histogram of seconds."""
        return Children(Histogram(name, text, labels, buckets=self._buckets, registry=self.registry))

    def gauge(self, name: str, text: str, *labels: str) -> Children[Gauge]:
        """A gauge that is set."""
        return Children(Gauge(name, text, labels, registry=self.registry))

    def reading(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge without labels that is read when Prometheus asks."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def information(self, name: str, text: str, facts: Mapping[str, str]) -> None:
        """A constant 1 whose labels carry facts."""
        Gauge(name, text, tuple(facts), registry=self.registry).labels(**facts).set(1)
