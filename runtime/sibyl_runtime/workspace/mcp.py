"""The `mcp` section: the server that offers pipelines as tools."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from sibyl_runtime.workspace.base import StrictModel, choice, planned
from sibyl_runtime.workspace.parameters import ToolParameter
from sibyl_runtime.workspace.protection import Authentication, Cdn, Compression, Cors, RateLimit, RateLimiting
from sibyl_runtime.workspace.text import HostName, Identifier, Name, Origin, Text

MIB = 1024 * 1024


class ServerInfo(StrictModel):
    """What the server says about itself."""

    name: Text = Field("sibyl", description="Name shown to clients.")
    version: Text | None = Field(None, description="Version shown to clients; none: the runtime's own.")
    description: str | None = Field(None, description="Description shown to clients.")


class TransportSecurity(StrictModel):
    """Which requests reach /mcp, so that no web page reaches it through the browser of somebody inside the network."""

    dns_rebinding_protection: bool = Field(
        True, description="Refuse pages of other origins; pages and hosts of this machine always pass."
    )
    allowed_origins: list[Origin] = Field([], description="Origins of pages that may call: https://app.example.com.")
    allowed_hosts: list[HostName] = Field(
        [], description="Host names, without port, to be called by; *.example.com takes all below it; none: any."
    )


class Tool(StrictModel):
    """A pipeline offered to clients under a name, with typed parameters."""

    name: Name = Field(description="Name of the tool.")
    description: Text = Field(description="What the tool does, for the model or person that chooses it.")
    pipeline: Name = Field(description="The pipeline that it runs.")
    parameters: dict[Identifier, ToolParameter] = Field({}, description="What a call may give, by name.")
    defaults: dict[str, Any] = Field({}, description="Values of parameters that a call does not give.")
    version: Text = Field("1.0.0", description="Version of the tool.")
    category: str | None = Field(None, description="Group of tools.")
    tags: list[str] = Field([], description="Words to find the tool by.")
    parameter_mapping: dict[str, str] | None = planned("Other names of parameters in the pipeline.")
    permissions: dict[str, Any] | None = planned("Roles that may call.")
    rate_limit: RateLimit | None = Field(None, description="Calls of it allowed in a time, for each caller.")
    validation: list[Any] | None = planned("Rules over several parameters.")
    deprecated: Any = planned("Mark the tool as going away.")
    examples: list[Any] | None = planned("Example calls.")
    input_schema: dict[str, Any] | None = planned("Parameters as one JSON Schema.")


class Mcp(StrictModel):
    """The server and its tools."""

    enabled: bool = Field(True, description="Offer tools.")
    transport: Literal["http", "stdio", "sse"] = choice(
        "http", "How clients connect: http for sibyl serve; stdio for sibyl mcp alone.", planned_values=("sse",)
    )
    host: Text = Field("0.0.0.0", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65_535, description="Port to listen on.")
    server: ServerInfo = Field(ServerInfo(), description="What the server says about itself.")
    tools: list[Tool] = Field([], description="The tools; none: search_documents over the pipeline search.")
    authentication: Authentication | None = Field(None, description="Who may call; none: everybody.")
    transport_security: TransportSecurity = Field(TransportSecurity(), description="Which requests reach /mcp.")
    timeout: float = Field(30.0, gt=0, le=3600, description="Deadline of a request, in seconds.")
    max_request_size: int = Field(10 * MIB, ge=1024, le=1024 * MIB, description="Largest request body, in bytes.")
    max_concurrent_requests: int = Field(64, ge=1, le=10_000, description="Requests worked on at once, per process.")
    ingestion: bool = Field(True, description="Let clients store and remove documents, under /documents.")
    page: bool = Field(True, description="Offer a page at / on which a person can ask the workspace.")
    compression: Compression | None = Field(None, description="Compression of responses; none: not compressed.")
    cdn: Cdn | None = Field(None, description="A content delivery network; none: no headers for one.")
    cors: Cors | None = Field(None, description="Browsers of other origins; none: they are kept out.")
    rate_limiting: RateLimiting | None = Field(None, description="Requests allowed in a time; none: any number.")
    authorization: dict[str, Any] | None = planned("What each caller may do.")
    tls: dict[str, Any] | None = planned("Encryption of connections.")
    sse: dict[str, Any] | None = planned("Server-sent events transport.")
    stdio: dict[str, Any] | None = planned("Standard input and output transport.")
    logging: dict[str, Any] | None = planned("Logging of the server alone.")
    metrics: dict[str, Any] | None = planned("Metrics of the server alone.")
    health: dict[str, Any] | None = planned("Health endpoints.")
    tracing: dict[str, Any] | None = planned("Traces of requests.")
    documentation: dict[str, Any] | None = planned("Generated documentation.")
    webhooks: Any = planned("Calls to other servers.")
    versioning: dict[str, Any] | None = planned("Several versions of the interface.")
    transformations: Any = planned("Changes to requests and responses.")
    auto_generate_tools: Any = planned("Tools made from pipelines.")
    tools_directory: str | None = planned("Directory of tool files.")
    auto_discover: bool | None = planned("Find tool files.")
    tool_groups: Any = planned("Groups of tools.")
    categories: Any = planned("Categories of tools.")
    analytics: dict[str, Any] | None = planned("Statistics of use.")
