"""Headers that requests to other servers carry for the call that they belong to, such as the `traceparent` of its span.

A context variable, so that the providers need not know who sets it: nobody does unless calls are traced.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

OUTGOING: ContextVar[Mapping[str, str]] = ContextVar("sibyl_outgoing", default=MappingProxyType({}))
