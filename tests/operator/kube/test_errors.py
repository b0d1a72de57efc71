"""Answers of the API server, sorted by what to do about them."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.kube import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from sibyl_operator.kube.errors import error_from

UID: dict[str, Any] = {"details": {"causes": [{"field": "metadata.uid", "message": "field is immutable"}]}}
UNKNOWN: dict[str, Any] = {"message": "failed to create typed patch object (a/b; v1): .x: field not declared in schema"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "transient"),
    [
        (400, {}, Invalid, False),
        (401, {}, Unauthorized, True),
        (403, {}, Forbidden, False),
        (404, {}, NotFound, False),
        (405, {}, KubeError, False),
        (408, {}, Unavailable, True),
        (409, {"reason": "AlreadyExists"}, AlreadyExists, False),
        (409, {"reason": "Conflict"}, Conflict, True),
        (410, {}, Unavailable, True),
        (413, {}, Invalid, False),
        (422, {}, Invalid, False),
        (422, UID, Conflict, True),
        (429, {}, TooManyRequests, True),
        (500, {}, Unavailable, True),
        (500, UNKNOWN, Invalid, False),
        (503, {}, Unavailable, True),
    ],
)
def test_a_status_becomes_the_error_that_says_what_to_do(
    status: int, body: dict[str, Any], kind: type[KubeError], transient: bool
) -> None:
    error = error_from(status, body)
    assert (type(error), error.status, error.transient) == (kind, status, transient)


def test_the_server_s_words_and_causes_are_kept() -> None:
    body = {"message": "no", "details": {"causes": [{"field": "spec.a", "message": "must be b"}, {}]}}
    error = error_from(422, body)
    assert isinstance(error, Invalid)
    assert (error.message, error.causes) == ("no", (("spec.a", "must be b"), ("", "")))
    assert str(error_from(500, {})) == "the API server answered HTTP 500"
    assert error_from(429, {}, retry_after=3.0).retry_after == 3.0
