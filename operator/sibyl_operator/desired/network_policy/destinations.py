"""Servers that the operator does not run, as destinations: as narrow as a name or an address lets them be."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from sibyl_operator.api.document_checks import whole_environment_reference
from sibyl_operator.api.models import EnvironmentVariable
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source, SourceKey, key_of_variable
from sibyl_operator.desired.network_policy.rules import POSTGRES_PORT, Rule, ports
from sibyl_operator.observed import Endpoint, SourceFacts
from sibyl_runtime.workspace import EmbeddingProvider, LlmProvider, written_values

OPENAI: Final = Endpoint("api.openai.com", 443)
LOADER: Final = "data.load_documents"
NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
COLLECTORS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_SERVICE: Final = re.compile(r"^(?:[^.]+\.)+(?P<namespace>[^.]+)\.svc(?:\.|$)")


def destinations(found: Iterable[Endpoint]) -> list[Rule]:
    """The rules that let out to these servers; each rule once, in the order of their hosts."""
    rules: list[Rule] = []
    for endpoint in sorted(set(found), key=lambda endpoint: (endpoint.host, endpoint.port)):
        rule = destination(endpoint)
        if rule not in rules:
            rules.append(rule)
    return rules


def destination(endpoint: Endpoint) -> Rule:
    """One server. An address is let through alone. A Service of the cluster stands for the pods of its namespace, on
    every port, because a policy sees the pod's port and not the Service's. Any other name may be anywhere.
    """
    try:
        address = ipaddress.ip_address(endpoint.host.strip("[]"))
    except ValueError:
        pass
    else:
        block = {"cidr": f"{address}/{address.max_prefixlen}"}
        return {"to": [{"ipBlock": block}], "ports": ports(endpoint.port)}
    service = _SERVICE.match(endpoint.host.lower())
    if service is not None:
        return {"to": [{"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: service["namespace"]}}}]}
    if "." not in endpoint.host:
        return {"to": [{"podSelector": {}}]}
    return {"ports": ports(endpoint.port)}


def model_rules(resource: WorkspaceResource, sources: Mapping[Source, SourceFacts]) -> list[Rule]:
    """The language and embedding models that are reached over the network, the keys of tokens, the collector of spans,
    and the proxy on the way to them.

    An address that its Secret or ConfigMap does not tell, or not yet, opens every TCP port: it may be any.
    """
    providers = resource.document.providers
    named: list[LlmProvider | EmbeddingProvider] = [*providers.llm.values(), *providers.embedding.values()]
    remote = [provider for provider in named if provider.kind == "openai"]
    issuer = _issuer(resource)
    variables = {variable.name: variable for variable in resource.spec.runtime.env}
    collector = _collector(resource, variables)
    if not remote and issuer is None and collector is None:
        return []
    proxies = [variables[name] for name in PROXIES if name in variables]
    found = [_model(provider, variables, sources) for provider in remote]
    found += [] if issuer is None else [_of_address(issuer, variables, sources)]
    found += [] if collector is None else [_of_address(collector, variables, sources)]
    found += [_of_variable(proxy, sources) for proxy in proxies]
    if any(endpoints is None for endpoints in found):
        return [{"ports": [{"protocol": "TCP"}]}]
    return destinations(endpoint for endpoints in found for endpoint in endpoints or ())


def replica_rules(resource: WorkspaceResource, sources: Mapping[Source, SourceFacts]) -> list[Rule]:
    """The read replicas that the document names."""
    replicas = resource.document.default_vector_store[1].replicas
    return _database_rules([replica.dsn for replica in replicas], resource, sources)


def loading_rules(resource: WorkspaceResource, sources: Mapping[Source, SourceFacts]) -> list[Rule]:
    """The databases whose rows pipelines load as documents."""
    document = resource.document
    written = [
        written_values(document, name, step.name, "dsn")[-1:]
        for name, pipeline in document.effective_pipelines.items()
        for step in pipeline.all_steps
        if step.use == LOADER
    ]
    return _database_rules([dsn for found in written for dsn in found if isinstance(dsn, str)], resource, sources)


def _database_rules(
    dsns: Iterable[str], resource: WorkspaceResource, sources: Mapping[Source, SourceFacts]
) -> list[Rule]:
    """One that does not tell where it is opens PostgreSQL's usual port."""
    variables = {variable.name: variable for variable in resource.spec.runtime.env}
    found = [_database(dsn, variables, sources) for dsn in dsns]
    rules = destinations(endpoint for endpoints in found for endpoint in endpoints)
    return rules if all(found) else [*rules, {"ports": ports(POSTGRES_PORT)}]


def _database(
    dsn: str, variables: Mapping[str, EnvironmentVariable], sources: Mapping[Source, SourceFacts]
) -> tuple[Endpoint, ...]:
    """Only a Secret or a ConfigMap tells it: the operator reads no DSN that stands elsewhere."""
    reference = whole_environment_reference(dsn)
    variable = variables.get(reference.name) if reference is not None else None
    return (_of_variable(variable, sources) or ()) if variable is not None and variable.value is None else ()


def _model(
    provider: LlmProvider | EmbeddingProvider,
    variables: Mapping[str, EnvironmentVariable],
    sources: Mapping[Source, SourceFacts],
) -> tuple[Endpoint, ...] | None:
    return (OPENAI,) if provider.base_url is None else _of_address(provider.base_url, variables, sources)


def _issuer(resource: WorkspaceResource) -> str | None:
    """Where the public keys of tokens are."""
    authentication = resource.document.mcp.authentication
    return authentication.jwks_url if authentication is not None else None


def _collector(resource: WorkspaceResource, variables: Mapping[str, EnvironmentVariable]) -> str | None:
    """Where spans go: the document's address, or a reference to the variable that stands in for it. Without either they
    stay in the pod."""
    tracing = resource.document.observability.tracing
    if tracing is None or not tracing.enabled:
        return None
    set_here = (f"${{{name}}}" for name in COLLECTORS if name in variables)
    return tracing.endpoint or next(set_here, None)


def _of_address(
    address: str, variables: Mapping[str, EnvironmentVariable], sources: Mapping[Source, SourceFacts]
) -> tuple[Endpoint, ...] | None:
    reference = whole_environment_reference(address)
    if reference is None:
        return _of_text(address)
    variable = variables.get(reference.name)
    if variable is not None:
        return _of_variable(variable, sources)
    return _of_text(reference.default or "")


def _of_variable(variable: EnvironmentVariable, sources: Mapping[Source, SourceFacts]) -> tuple[Endpoint, ...] | None:
    if variable.value is not None:
        return _of_text(variable.value)
    taken = key_of_variable(variable)
    return known_endpoints(taken, sources) if taken is not None else None


def known_endpoints(taken: SourceKey, sources: Mapping[Source, SourceFacts]) -> tuple[Endpoint, ...] | None:
    """Where a value that is kept elsewhere points to; None while it is not there, or does not tell."""
    facts = sources.get(taken.source)
    return facts.endpoints.get(taken.key) if facts is not None else None


def _of_text(text: str) -> tuple[Endpoint, ...] | None:
    """Host and port of a URL; None for text that does not tell them, such as one with a reference inside."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or "$" in parts.netloc:
        return None
    return (Endpoint(parts.hostname, port or (80 if parts.scheme == "http" else 443)),)
