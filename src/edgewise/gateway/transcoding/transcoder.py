"""All methods of some services, and the requests that call them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgewise.contracts.plan import Answer
from edgewise.contracts.policies import Denial
from edgewise.contracts.transcoding import Failure
from edgewise.gateway.transcoding.answers import Failures
from edgewise.gateway.transcoding.bindings import Binding, BoundCall, Method, malformed
from edgewise.gateway.transcoding.http_rules import Rule, rules_of
from edgewise.gateway.transcoding.paths import Paths, TemplateError, parse_template
from edgewise.protocols.grpc import Kind
from edgewise.protocols.protobuf.descriptors import DescriptorError, common_types
from edgewise.protocols.protobuf.errors import InvalidValue
from edgewise.protocols.protobuf.types import Style, Types

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool

    from edgewise.http.head import RequestHead

_ANY = "*"
_NOT_HERE = Denial(404, "transcode", "No method is bound to this path.")
_NOT_JSON = Denial(415, "transcode", "The content must be JSON.", ((b"Accept", b"application/json"),))
_CODED = Denial(415, "transcode", "The content must not be encoded.", ((b"Accept-Encoding", b"identity"),))


class Settings(NamedTuple):
    """How requests are taken and answers told."""

    style: Style = Style()
    unannotated: bool = False
    """Bind methods without an annotation to a POST of `/package.Service/Method`."""
    ignore_unknown: bool = False
    """Leave out parameters of a query that the message does not have."""
    ignored: frozenset[str] = frozenset()
    """Parameters of a query that are no fields."""
    most_request: int = 4 << 20
    most_answer: int = 4 << 20


class PoolTranscoder:
    """The methods of services in a pool (`contracts.transcoding.Transcoder`)."""

    def __init__(self, pool: DescriptorPool, services: tuple[str, ...], settings: Settings) -> None:
        """Raises DescriptorError where a service is not in the pool, a rule does not fit, or two rules are one."""
        self._settings = settings
        self._types = Types(pool, settings.style, common_types())
        self._failures = Failures(self._types)
        self._paths: Paths[Binding] = Paths()
        self.most_request = settings.most_request
        self.most_answer = settings.most_answer
        for name in services:
            try:
                service = pool.FindServiceByName(name)
            except KeyError:
                raise DescriptorError(f"no service {name}") from None
            self._bind(service)

    def _bind(self, service: ServiceDescriptor) -> None:
        for one in service.methods:
            target = f"/{service.full_name}/{one.name}"
            method = Method(
                target.encode(),
                self._types.of(one.input_type),
                self._types.of(one.output_type),
                one.client_streaming,
                one.server_streaming,
            )
            rules = rules_of(one)
            if not rules and self._settings.unannotated:
                rules = [Rule("POST", target, "*", "")]
            for rule in rules:
                try:
                    self._add(method, rule)
                except TemplateError as error:
                    raise DescriptorError(f"{service.full_name}.{one.name}: {error}") from None

    def _add(self, method: Method, rule: Rule) -> None:
        settings = self._settings
        template = parse_template(rule.path)
        binding = Binding(method, rule, template, settings.ignored, ignore_unknown=settings.ignore_unknown)
        if not self._paths.add(rule.verb, template, binding):
            raise TemplateError(f"{rule.verb} {rule.path} is bound to another method too")

    # ---- requests ----------------------------------------------------------------------------------------------------

    def find(self, request: RequestHead) -> BoundCall | Answer | Denial:
        """Return what a request calls; what answers it where it calls nothing."""
        found = self._paths.find(request.path.decode("latin-1"))
        if not found:
            return _NOT_HERE
        method = request.method.decode("latin-1")
        for methods, segments in found:
            binding = _binding(methods, method)
            if binding is not None:
                return self._call(request, binding, segments)
        return _other_methods(request.method, {name for methods, _ in found for name in methods})

    def _call(self, request: RequestHead, binding: Binding, segments: list[str]) -> BoundCall | Denial:
        content_type = request.get(b"content-type") or b""
        if request.body:
            if binding.rule.body and not binding.raw and not _is_json(content_type):
                return _NOT_JSON
            if (request.get(b"content-encoding") or b"identity").lower() != b"identity":
                return _CODED
        try:
            part = binding.from_head(segments, (request.query or b"").decode("latin-1"))
        except InvalidValue as error:
            return malformed(error)
        form = _form(request) if binding.method.streams_out else Kind.JSON
        return BoundCall(binding, part, content_type, form)

    def failure(self, status: int, text: str, details: bytes | None) -> Failure:
        """Return a status as the client gets it."""
        return self._failures.failure(status, text, details)


def _binding(methods: dict[str, Binding], method: str) -> Binding | None:
    found = methods.get(method) or methods.get(_ANY)
    if found is None and method == "HEAD":
        found = methods.get("GET")
        return None if found is None or found.method.streams_out else found
    return found


def _other_methods(method: bytes, methods: set[str]) -> Answer | Denial:
    """Answer a request with a method that is bound to nothing (RFC 9110 sections 9.3.7 and 15.5.6)."""
    known = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    allow = (b"Allow", ", ".join(sorted(known)).encode())
    if method == b"OPTIONS":
        return Answer(204, (allow,), b"")
    return Denial(405, "transcode", "The path is bound to other methods.", (allow,))


def _is_json(content_type: bytes) -> bool:
    if not content_type:
        return True
    kind = content_type.partition(b";")[0].strip(b" \t").lower()
    return kind in _JSON_TYPES or (kind.startswith(b"application/") and kind.endswith(b"+json"))


_JSON_TYPES = frozenset((b"application/json", b"application/x-ndjson", b"application/jsonl"))


def _form(request: RequestHead) -> Kind:
    """Return how a stream goes to a client: as events where it asks for them."""
    accepted = [item.partition(b";")[0].strip(b" \t").lower() for item in (request.get(b"accept") or b"").split(b",")]
    return Kind.EVENTS if b"text/event-stream" in accepted else Kind.LINES
