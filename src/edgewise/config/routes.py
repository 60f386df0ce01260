"""The tables of a route: which requests it takes and what becomes of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from edgewise.config.caching import RouteCache
from edgewise.config.compress import Compress
from edgewise.config.policies import Policies
from edgewise.config.static import Static
from edgewise.config.tls import SWITCH_VALIDATOR
from edgewise.config.types import (
    Count,
    CsrfCheck,
    Duration,
    FieldName,
    Fields,
    FieldValue,
    FileName,
    HostPatterns,
    Link,
    Methods,
    Model,
    Name,
    PathPatterns,
    PathPrefix,
    PositiveDuration,
    RedirectTarget,
    Rewrite,
    Size,
    Token,
)


class Redirect(Model):
    """Answer with a redirect."""

    to: RedirectTarget
    """Target, a template with the parameters of the path and {scheme}, {host}, {path}, {query}.

    The request's query is kept unless the template has a "?"."""
    status: Literal[301, 302, 303, 307, 308] = 308
    """Status of the answer."""


class Respond(Model):
    """Answer with fixed content, or with what a template makes of the request."""

    status: Annotated[int, Field(ge=200, le=599)] = 200
    """Status of the answer."""
    body: str = ""
    """Content, sent as UTF-8."""
    content_type: FieldValue = "text/plain; charset=utf-8"
    """Content-Type field."""
    headers: Fields = Field(default={})
    """Further fields."""
    template: bool = False
    """Fill in {name} in body and headers: the parameters of the path, and {method}, {scheme}, {host}, {path}, {query}.

    Values are escaped for JSON, HTML and XML by the content type; braces with no such name stay."""
    delay: Annotated[Duration, Field(le=60)] = 0.0
    """Time to wait before the answer."""
    identity_keys: bool = False
    """Answer with the public keys of [identity] as a JWK set (RFC 7517), for /.well-known/jwks.json."""


class HeaderEdits(Model):
    """Changes to header fields, in the order remove, set, add."""

    set: Fields = Field(default={})
    """Fields put in place of those of the same name."""
    add: Fields = Field(default={})
    """Fields added."""
    remove: list[FieldName] = Field(default=[])
    """Names of fields removed."""


class RouteTimeouts(Model):
    """Time limits of a route; tunnels are WebSockets and other upgraded connections."""

    response: PositiveDuration | None = None
    """Without a byte of the answer; by default the upstream's."""
    body: PositiveDuration = 60.0
    """Without a byte of the request's content."""
    tunnel: PositiveDuration | None = None
    """Without a byte of a tunnel in either direction; by default that of [server]."""
    tunnel_lifetime: Duration | None = None
    """From the beginning of a tunnel to its end; 0: no limit. By default that of [server]."""


class TunnelTimeouts(Model):
    """Time limits of a layer 4 route."""

    tunnel: PositiveDuration | None = None
    """Without a byte in either direction; by default that of [server]."""
    tunnel_lifetime: Duration | None = None
    """From the beginning of a session to its end; 0: no limit. By default that of [server]."""


class Route(Policies):
    """Requests that match go where the route says; of several that match, the most specific wins, not the first.

    Exactly one of upstream, split, redirect, respond and static says what becomes of a request.
    """

    name: Name | None = None
    """Shown in metrics, logs and `edgewise explain`; by default host and path."""
    host: HostPatterns | None = None
    """Host names, "*.example.com" for any name below; by default every host."""
    path: PathPatterns = "/*"
    """Paths: exact "/a", prefix "/a/*", parameters "/users/{id}/posts", "{rest*}" last."""
    method: Methods | None = None
    """Methods; by default all."""
    headers: dict[Token, FieldValue] = Field(default={})
    """Fields the request must have; "*": any value."""
    query: dict[str, str] = Field(default={})
    """Query parameters the request must have; "*": any value."""
    upstream: str | None = None
    """Name of the upstream that answers."""
    split: dict[str, Count] = Field(default={})
    """Names of upstreams and their weights (canary)."""
    redirect: Redirect | None = None
    """Answer with a redirect."""
    respond: Respond | None = None
    """Answer with fixed content."""
    static: Static | None = None
    """Answer with files."""
    strip_prefix: PathPrefix | None = None
    """Prefix taken off the path before it is sent on."""
    rewrite: Rewrite | None = None
    """Path sent on in place of the request's, a template with {param} names and {path}.

    The request's query is kept unless the template has a "?"."""
    request_headers: HeaderEdits = HeaderEdits()
    """Changes to the request's fields."""
    response_headers: HeaderEdits = HeaderEdits()
    """Changes to the answer's fields."""
    timeouts: RouteTimeouts = RouteTimeouts()
    """Time limits."""
    body_limit: Size = 100_000_000
    """Request content at most; 0: no limit. gRPC calls, which may go on for hours, have none where it is not given."""
    buffer_request: bool = False
    """Read request content, up to 1 MiB of it, before a server is chosen; a longer one streams from there on."""
    preserve_host: bool = True
    """Send the client's Host field on; otherwise the server's address."""
    websocket: bool = True
    """Let WebSocket upgrades through."""
    internal: bool = False
    """Reached only through X-Accel-Redirect."""
    accel: dict[PathPrefix, FileName] = Field(default={})
    """Directories that X-Accel-Redirect and X-Sendfile may name, by path prefix."""
    clear_site_data: list[Literal["cache", "cookies", "storage", "executionContexts", "clientHints", "*"]] = Field(
        default=[]
    )
    """What browsers are told to drop of this site with each answer of the route (Clear-Site-Data, over HTTPS): for the
    path of a logout, or for a while after something wrong was kept."""
    compress: Annotated[Compress | None, BeforeValidator(SWITCH_VALIDATOR)] = None
    """Compress answers: `true`, `false`, or a table."""
    early_hints: list[Link] = Field(default=[])
    """Link fields that browsers get in a 103 before a server is asked, such as "</app.css>; rel=preload; as=style"."""
    early_hints_http1: bool = False
    """Send it over HTTP/1.1 too, where some clients take it for the answer; HTTP/2 is always fine."""
    cache: RouteCache | None = None
    """Keep answers for other requests; `{}` for what answers say themselves."""
    session: Literal["optional", "required"] | None = None
    """Check the session that the gateway holds, and tell the upstream who asks; "required": refuse whoever has none."""
    login: str | None = None
    """Path where browsers that open a page without a session are sent (303); others get 401."""
    csrf: CsrfCheck = False
    """Refuse changes (403) that no page of the same origin asks for; "token": those without their session's token."""
    filters: list[Annotated[str, Field(min_length=1)]] = Field(default=[])
    """Filters in order: import paths "package.module:attribute" or names of installed filters."""
    filter_timeout: PositiveDuration = 5.0
    """Time each filter may take."""

    @property
    def hosts(self) -> list[str]:
        """Host patterns as a list; empty for every host."""
        return [self.host] if isinstance(self.host, str) else list(self.host or [])

    @property
    def paths(self) -> list[str]:
        """Path patterns as a list."""
        return [self.path] if isinstance(self.path, str) else list(self.path)

    @property
    def methods(self) -> list[str]:
        """Methods as a list; empty for all."""
        return [self.method] if isinstance(self.method, str) else list(self.method or [])
