"""Checks of the server's protections: nobody is let in by mistake, and no setting stands there without an effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Final

from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.errors import Location, suggestion
from sibyl_runtime.workspace.protection import SHARED_SECRET_ALGORITHMS, Authentication
from sibyl_runtime.workspace.text import refers_to_environment

DOCUMENT_ROUTES: Final = ("store_documents", "prune_documents")
SHORTEST_SECRET: Final = 32
_AT: Final[Location] = ("mcp", "authentication")
# What an algorithm needs is told at its place: one that is misspelt is then not also told what it needs.
_ALGORITHM: Final[Location] = (*_AT, "algorithm")
_BELONGING: Final[Mapping[str, frozenset[str]]] = {
    "api_key": frozenset({"header", "keys", "keys_file", "key_metadata"}),
    "jwt": frozenset({"secret", "algorithm", "jwks_url", "audience", "issuer", "required_claims", "leeway"}),
}


def authentication_settings_belong(context: Context) -> Iterator[Finding]:
    """Settings of keys do nothing for tokens, and the other way round."""
    authentication = context.workspace.mcp.authentication
    if authentication is None:
        return
    for kind, names in _BELONGING.items():
        if kind == authentication.type or authentication.type not in _BELONGING:
            continue
        for name in sorted(names & authentication.model_fields_set):
            yield Finding(
                (*_AT, name),
                f"has no effect with type {authentication.type}; remove it, or set mcp.authentication.type: {kind}",
            )


def tokens_can_be_verified(context: Context) -> Iterator[Finding]:
    """A shared secret for HS256 and its kin, published keys for all others: the algorithm decides, never the token."""
    authentication = context.workspace.mcp.authentication
    if authentication is None or authentication.type != "jwt":
        return
    if authentication.algorithm in SHARED_SECRET_ALGORITHMS:
        yield from _shared_secret(authentication)
        return
    if authentication.jwks_url is None:
        yield Finding(_ALGORITHM, f"{authentication.algorithm} needs jwks_url: where the public keys are")
    if authentication.secret is not None:
        yield Finding(_ALGORITHM, f"{authentication.algorithm} needs no secret; remove it, or use HS256")
    address = authentication.jwks_url or "https://"
    if not address.startswith(("http://", "https://")) and not refers_to_environment(address):
        yield Finding((*_AT, "jwks_url"), "must start with https:// or http://")


def _shared_secret(authentication: Authentication) -> Iterator[Finding]:
    secret = authentication.secret
    if authentication.jwks_url is not None:
        yield Finding(
            _ALGORITHM,
            f"{authentication.algorithm} needs no jwks_url; remove it, or name the algorithm of the published keys",
        )
    if secret is None:
        yield Finding(_ALGORITHM, f"{authentication.algorithm} needs secret, such as ${{JWT_SECRET}}")
    elif not refers_to_environment(secret) and len(secret.encode()) < SHORTEST_SECRET:
        yield Finding(
            (*_AT, "secret"),
            f"must have at least {SHORTEST_SECRET} bytes, found {len(secret.encode())}; "
            "`openssl rand -hex 32` makes one",
        )


def key_metadata_means_keys(context: Context) -> Iterator[Finding]:
    """Each entry is of a key in the list, as it is written there, or of a name in the file, which is not known here."""
    authentication = context.workspace.mcp.authentication
    if authentication is None or authentication.keys_file is not None:
        return
    written = written_keys(context.raw)
    for name in authentication.key_metadata:
        if name not in written:
            known = [key for key in written if refers_to_environment(key)]
            # The name may be a key by mistake: it is not repeated, and stands in no place either.
            yield Finding(
                (*_AT, "key_metadata"),
                "holds an entry that is no key of mcp.authentication.keys as it is written there"
                + (suggestion(name, known) if refers_to_environment(name) else "; write it as in that list"),
            )


def written_keys(raw: Mapping[str, object]) -> list[str]:
    """`mcp.authentication.keys` of a document as it is written, with its references in place."""
    section: object = raw
    for part in (*_AT, "keys"):
        section = section.get(part) if isinstance(section, Mapping) else None
    return [key for key in section if isinstance(key, str)] if isinstance(section, list) else []


def permissions_mean_tools(context: Context) -> Iterator[Finding]:
    """A pattern that fits no tool lets nobody do anything: it is a slip of the pen."""
    authentication = context.workspace.mcp.authentication
    known = [*context.workspace.effective_tools, *DOCUMENT_ROUTES]
    for name, metadata in (authentication.key_metadata if authentication is not None else {}).items():
        for index, pattern in enumerate(metadata.permissions):
            if not any(fnmatchcase(tool, pattern) for tool in known):
                yield Finding(
                    (*_AT, "key_metadata", name, "permissions", index),
                    f'"{pattern}" fits no tool{suggestion(pattern, known)}',
                )


def rate_limits_can_be_kept(context: Context) -> Iterator[Finding]:
    """Shared buckets need a place, and every setting of the limits has an effect."""
    limiting = context.workspace.mcp.rate_limiting
    if limiting is None:
        return
    at: Location = ("mcp", "rate_limiting")
    if limiting.storage == "redis" and limiting.redis_url is None:
        yield Finding((*at, "redis_url"), "is required with storage redis, such as ${REDIS_URL}")
    if limiting.storage == "memory" and limiting.redis_url is not None:
        yield Finding((*at, "redis_url"), "has no effect with storage memory; remove it, or set storage: redis")
    if limiting.trusted_proxies and not limiting.by_ip:
        yield Finding((*at, "trusted_proxies"), "has no effect with by_ip: false; remove it, or set by_ip: true")


def origins_are_named_for_credentials(context: Context) -> Iterator[Finding]:
    """Cookies for any origin would let every page on the web act as its visitor."""
    cors = context.workspace.mcp.cors
    if cors is not None and cors.allow_credentials and "*" in cors.allow_origins:
        yield Finding(("mcp", "cors", "allow_origins"), "must name origins, found *, with allow_credentials: true")
