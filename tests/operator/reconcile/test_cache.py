"""The cache of children: the newest version wins, and what is gone stays gone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sibyl_operator.reconcile.cache import ChildCache
from sibyl_operator.reconcile.key import Key

KEY = Key("team", "demo")
ID = ("Service", "web")


def service(version: int, name: str = "web", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team", "resourceVersion": str(version), "managedFields": [{}]}
    return {"kind": "Service", "metadata": metadata, "spec": spec}


def cache(*manifests: dict[str, Any]) -> ChildCache:
    made = ChildCache()
    made.begin(KEY)
    made.fill(KEY, "Service", manifests)
    made.listing_complete(KEY)
    return made


def test_a_body_is_kept_without_its_managed_fields() -> None:
    (kept,) = cache(service(1)).children(KEY).values()
    assert "managedFields" not in kept["metadata"]


def test_an_older_version_never_replaces_a_newer_one() -> None:
    made = cache(service(5, a=1))
    assert made.observe(KEY, "MODIFIED", service(4, a=0)) is False
    made.store(KEY, service(3, a=0))
    made.fill(KEY, "Service", [service(2, a=0)])
    assert made.children(KEY)[ID]["spec"] == {"a": 1}


def test_an_event_counts_only_when_something_of_concern_changed() -> None:
    made = cache(service(5, a=1))
    assert made.observe(KEY, "MODIFIED", service(6, a=1)) is False
    assert made.observe(KEY, "MODIFIED", service(7, a=2)) is True
    assert made.observe(KEY, None, service(8, a=3)) is True
    assert made.observe(KEY, "ADDED", service(9, name="other")) is True


def test_the_echo_of_an_own_write_is_no_news() -> None:
    made = cache()
    made.store(KEY, service(6, a=1))
    assert made.observe(KEY, "ADDED", service(6, a=1)) is False


def test_a_deletion_is_not_undone_by_events_or_lists_from_before() -> None:
    made = cache(service(5))
    assert made.observe(KEY, "DELETED", service(9)) is True
    assert made.observe(KEY, "DELETED", service(9)) is False
    assert made.observe(KEY, "MODIFIED", service(8)) is False
    made.fill(KEY, "Service", [service(7)])
    assert made.children(KEY) == {}
    assert made.observe(KEY, "ADDED", service(10)) is True


def test_a_late_deletion_does_not_take_the_successor_away() -> None:
    made = cache(service(12))
    assert made.observe(KEY, "DELETED", service(9)) is False
    assert ID in made.children(KEY)


def test_what_we_deleted_ourselves_stays_gone() -> None:
    made = cache(service(5))
    made.deleted(KEY, ID)
    assert made.observe(KEY, "MODIFIED", service(5)) is False
    assert made.observe(KEY, "DELETED", service(6)) is False
    assert made.children(KEY) == {}


def test_what_is_dropped_may_be_read_again() -> None:
    made = cache(service(5))
    made.drop(KEY, ID)
    made.store(KEY, service(5))
    assert ID in made.children(KEY)


def test_a_list_takes_away_what_it_does_not_hold_of_its_kind_only() -> None:
    made = cache(service(1), service(2, "two"))
    made.fill(KEY, "ConfigMap", [])
    assert len(made.children(KEY)) == 2
    made.fill(KEY, "Service", [service(2, "two")])
    assert set(made.children(KEY)) == {("Service", "two")}


def test_before_the_first_pass_nothing_is_kept_and_only_news_asks_for_a_pass() -> None:
    made = ChildCache()
    assert made.observe(KEY, None, service(1)) is False
    assert made.observe(KEY, "ADDED", service(1)) is True
    assert (made.keys(), made.children(KEY), made.is_listed(KEY)) == (frozenset(), {}, False)
    made.drop(KEY, ID)
    made.deleted(KEY, ID)
    made.expire(KEY)
    assert len(made) == 0


def test_expiring_asks_for_a_new_list_and_forgetting_for_everything() -> None:
    made = cache(service(1))
    made.settle(KEY, ID, "hash", "result")
    assert made.is_listed(KEY)
    assert made.settled(KEY, ID) == ("hash", "result")
    made.expire(KEY)
    assert not made.is_listed(KEY)
    made.forget(KEY)
    assert (len(made), made.settled(KEY, ID)) == (0, None)


@given(st.permutations([("ADDED", 1), ("MODIFIED", 3), ("DELETED", 5), ("ADDED", 7), ("MODIFIED", 8), ("DELETED", 9)]))
def test_whatever_the_order_a_deleted_child_ends_deleted(events: list[tuple[str, int]]) -> None:
    made = cache()
    for event, version in events:
        made.observe(KEY, event, service(version, at=version))
    assert made.children(KEY) == {}


@given(st.permutations([("ADDED", 1), ("MODIFIED", 3), ("DELETED", 5), ("ADDED", 7), ("MODIFIED", 8)]))
def test_whatever_the_order_the_last_version_stays(events: list[tuple[str, int]]) -> None:
    made = cache()
    for event, version in events:
        made.observe(KEY, event, service(version, at=version))
    assert made.children(KEY)[ID]["spec"] == {"at": 8}
