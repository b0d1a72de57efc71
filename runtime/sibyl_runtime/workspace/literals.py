"""Secrets that a document holds itself, instead of referring to them. Pure; no secret leaves this module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.protection import is_key_digest
from sibyl_runtime.workspace.references import MalformedReference, Reference, whole_reference
from sibyl_runtime.workspace.secrecy import is_address_name, is_secret_name, without_passwords
from sibyl_runtime.workspace.walk import texts_in

Held = Literal["secret", "password"]


def literal_secrets(raw: Mapping[str, Any]) -> Iterator[tuple[Location, Held]]:
    """Where the document as written holds a key or a password: in the text itself, or in the default of a reference.

    A digest of a key is none, and neither is a reference without a default.
    """
    for at, text in texts_in(raw):
        name = next((part for part in reversed(at) if isinstance(part, str)), "")
        if is_secret_name(name) and _shows_a_secret(text):
            yield at, "secret"
        elif is_address_name(name) and _shows_a_password(text):
            yield at, "password"


def _shows_a_secret(text: str) -> bool:
    if not text or is_key_digest(text):
        return False
    reference = _environment_reference(text)
    return reference is None or bool(reference.default)


def _shows_a_password(address: str) -> bool:
    reference = _environment_reference(address)
    text = address if reference is None else reference.default or ""
    passwords: list[str] = []

    def collect(password: str) -> str:
        passwords.append(password)
        return ""

    without_passwords(text, collect, is_address=True)
    return any(_shows_a_secret(password) for password in passwords)


def _environment_reference(text: str) -> Reference | None:
    """The reference to the environment that is all of `text`, if that is what it is."""
    try:
        reference = whole_reference(text)
    except MalformedReference:
        return None
    return reference if reference is not None and reference.kind == "environment" else None
