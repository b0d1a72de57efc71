"""What a server asks with `Retry-After`, in each form that HTTP has; what is sent again is tested over HTTP."""

from __future__ import annotations

import httpx2
import openai
import pytest

from sibyl_runtime.providers.llm.openai_failures import retry_after

NOW, LATER, BEFORE = (f"Thu, 26 Nov 2015 07:00:{second:02} GMT" for second in (30, 34, 10))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": LATER, "date": NOW}, 4.0),
        ({"retry-after": BEFORE, "date": NOW}, 0.0),
        ({"retry-after": BEFORE}, 0.0),
        ({"retry-after": LATER, "date": "today"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "26 Nov 2015 07:00:34 -0000", "date": NOW}, None),
    ],
)
def test_the_wait_that_is_asked_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    request = httpx2.Request("POST", "http://model.example/v1/chat/completions")
    response = httpx2.Response(429, headers=headers, request=request)
    assert retry_after(openai.RateLimitError("slow down", response=response, body=None)) == seconds
