"""Settings: defaults, environment, flags, in that order, and nothing mistyped goes unnoticed."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.api.images import DefaultImages
from sibyl_operator.process.settings import Settings, SettingsError, checked

VALID: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"SIBYL_OPERATOR_WORKERS": "4"}, {"workers": 4}),
    ({"SIBYL_OPERATOR_NAMESPACES": "a, b,"}, {"namespaces": ("a", "b")}),
    ({"SIBYL_OPERATOR_SCRAPE_INTERVAL": "0.5"}, {"scrape_interval": 0.5}),
    ({"SIBYL_OPERATOR_LEADER_ELECT": "False"}, {"leader_elect": False}),
    ({"SIBYL_OPERATOR_KUBECONFIG": "/a"}, {"kubeconfig": "/a"}),
    ({"SIBYL_OPERATOR_LEASE_NAMESPACE": "ops", "SIBYL_OPERATOR_HTTP_PORT": "0"}, {"lease_namespace": "ops"}),
    ({"SIBYL_OPERATOR_LOG_LEVEL": ""}, {"log_level": "INFO"}),
    ({"SIBYL_OPERATOR_RUNTIME_IMAGE": "mirror/sibyl:1"}, {"images": DefaultImages(runtime="mirror/sibyl:1")}),
    ({"SIBYL_OPERATOR_DATABASE_IMAGE": "mirror/pg:18"}, {"images": DefaultImages(database="mirror/pg:18")}),
    ({"SIBYL_OPERATOR_CACHE_IMAGE": "mirror/redis:8"}, {"images": DefaultImages(cache="mirror/redis:8")}),
    ({"PATH": "/bin", "SIBYL_DATA_DIR": "/x"}, {}),
]

INVALID: list[tuple[dict[str, str], str]] = [
    ({"SIBYL_OPERATOR_WORKER": "4"}, r"SIBYL_OPERATOR_WORKER is not a setting; .*SIBYL_OPERATOR_WORKERS"),
    ({"SIBYL_OPERATOR_WORKERS": "many"}, "SIBYL_OPERATOR_WORKERS: found 'many', allowed: a whole number"),
    ({"SIBYL_OPERATOR_WORKERS": "0"}, "SIBYL_OPERATOR_WORKERS: found 0, allowed: 1 to 256"),
    ({"SIBYL_OPERATOR_SCRAPE_INTERVAL": "soon"}, "SIBYL_OPERATOR_SCRAPE_INTERVAL: found 'soon', allowed: a number"),
    ({"SIBYL_OPERATOR_SCRAPE_INTERVAL": "0"}, "SIBYL_OPERATOR_SCRAPE_INTERVAL: found 0.0, allowed: a number above 0"),
    ({"SIBYL_OPERATOR_SCRAPE_INTERVAL": "nan"}, "SIBYL_OPERATOR_SCRAPE_INTERVAL: found nan"),
    ({"SIBYL_OPERATOR_LEADER_ELECT": "maybe"}, "SIBYL_OPERATOR_LEADER_ELECT: found 'maybe', allowed: true, false"),
    ({"SIBYL_OPERATOR_LOG_LEVEL": "LOUD"}, "SIBYL_OPERATOR_LOG_LEVEL: found 'LOUD', allowed: DEBUG, INFO"),
    ({"SIBYL_OPERATOR_LOG_FORMAT": "xml"}, "SIBYL_OPERATOR_LOG_FORMAT: found 'xml', allowed: json, text"),
    ({"SIBYL_OPERATOR_RUNTIME_IMAGE": "a b"}, "SIBYL_OPERATOR_RUNTIME_IMAGE: found 'a b', allowed: an image reference"),
    ({"SIBYL_OPERATOR_HTTP_PORT": "65536"}, "SIBYL_OPERATOR_HTTP_PORT: found 65536, allowed: 0 to 65535"),
    ({"SIBYL_OPERATOR_NAMESPACES": "a,B*"}, r"SIBYL_OPERATOR_NAMESPACES: found 'B\*', allowed: names of namespaces"),
    ({"SIBYL_OPERATOR_LEASE_DURATION": "10"}, r"lease_duration \(10\) must be longer than renew_deadline \(10\)"),
    ({"SIBYL_OPERATOR_RETRY_PERIOD": "11"}, "that longer than retry_period"),
]


@pytest.mark.parametrize(("environ", "expected"), VALID)
def test_the_environment_overrides_the_defaults(environ: dict[str, str], expected: dict[str, Any]) -> None:
    settings = Settings.from_environment(environ)
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(("environ", "words"), INVALID)
def test_what_makes_no_sense_is_refused_by_name(environ: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.from_environment(environ)


def test_flags_override_the_environment_and_absent_flags_do_not() -> None:
    settings = Settings.from_environment({"SIBYL_OPERATOR_WORKERS": "4"}, workers=2, log_level=None)
    assert (settings.workers, settings.log_level) == (2, "INFO")


def test_what_kubernetes_says_of_services_beside_us_is_no_setting() -> None:
    links = {
        "SIBYL_OPERATOR_SERVICE_HOST": "10.96.0.9",
        "SIBYL_OPERATOR_SERVICE_PORT": "80",
        "SIBYL_OPERATOR_SERVICE_PORT_HTTP": "80",
        "SIBYL_OPERATOR_PORT": "tcp://10.96.0.9:80",
        "SIBYL_OPERATOR_PORT_80_TCP_ADDR": "10.96.0.9",
        "SIBYL_OPERATOR_METRICS_PORT": "tcp://10.96.0.9:80",
    }
    assert Settings.from_environment(links) == Settings.from_environment({})


def test_intervals_follow_the_settings() -> None:
    intervals = checked(
        Settings(waiting_interval=1, scrape_interval=2, blocked_interval=3, resync_interval=4)
    ).intervals
    assert (intervals.waiting, intervals.scrape, intervals.blocked, intervals.resync) == (1, 2, 3, 4)


def test_each_process_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "sibyl-operator-7d9")
    assert Settings().identity == "sibyl-operator-7d9"
    monkeypatch.delenv("POD_NAME")
    assert Settings().identity.rpartition("-")[2].isdigit()
