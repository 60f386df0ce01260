"""Path templates of google.api.http: parsed, and looked up in a tree by segments (google/api/http.proto)."""

from __future__ import annotations

import re
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()+,;@%-]+")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_ESCAPE = re.compile(r"(%2[Ff])")
ONE, REST = "*", "**"
"""A segment; any number of them, down to none."""
_MOST_SEGMENTS = 64
"""Of a path that is looked up."""

Target = TypeVar("Target")


class TemplateError(ValueError):
    """A template is none, or stands in the way of another."""


class Variable(NamedTuple):
    """A part of a path that gives a field its value."""

    field: str
    start: int
    """Index of its first segment."""
    end: int
    """Index behind its last one; of one that takes the rest, counted from the end of the path: 0."""
    single: bool
    """Is it one segment? Then all of it is decoded, else `%2F` stays (google/api/http.proto)."""


class Template(NamedTuple):
    """A template, taken apart."""

    segments: tuple[str, ...]
    verb: str
    """What stands behind the last colon."""
    variables: tuple[Variable, ...]


def parse_template(text: str) -> Template:
    """Return the parts of a template. Raises TemplateError."""
    if not text.startswith("/"):
        raise TemplateError(f"{text!r} does not begin with /")
    body, verb = _without_verb(text)
    segments: list[str] = []
    variables: list[Variable] = []
    for part in _parts(body[1:]):
        start = len(segments)
        if part.startswith("{"):
            field, _, pattern = part[1:-1].partition("=")
            if not _FIELD.fullmatch(field):
                raise TemplateError(f"{text!r} has a variable without a field")
            segments += (pattern or ONE).split("/")
            variables.append(_variable(field, start, segments))
        else:
            segments.append(part)
    _check(text, segments, variables)
    return Template(tuple(segments), verb, tuple(variables))


def _without_verb(text: str) -> tuple[str, str]:
    """Part a template at the colon of its verb, which stands in no variable."""
    at = text.rfind(":")
    if at < 0 or "/" in text[at:] or "}" in text[at:]:
        return text, ""
    if not _LITERAL.fullmatch(text[at + 1 :]):
        raise TemplateError(f"{text!r} has a verb that is none")
    return text[:at], text[at + 1 :]


def _parts(body: str) -> list[str]:
    """Return segments and variables."""
    parts: list[str] = []
    at = 0
    while True:
        end = body.find("}", at) + 1 if body.startswith("{", at) else body.find("/", at)
        if end <= 0:
            parts.append(body[at:])
            return parts
        parts.append(body[at:end])
        if end == len(body):
            return parts
        if body[end] != "/":
            raise TemplateError(f"/{body}: a variable is a whole segment, or several")
        at = end + 1


def _variable(field: str, start: int, segments: list[str]) -> Variable:
    taken = segments[start:]
    end = 0 if REST in taken else len(segments)
    return Variable(field, start, end, single=len(taken) == 1 and taken[0] != REST)


def _check(text: str, segments: list[str], variables: list[Variable]) -> None:
    for segment in segments:
        if segment not in (ONE, REST) and not _LITERAL.fullmatch(segment):
            raise TemplateError(f"{text!r} has a malformed segment")
    if REST in segments[:-1]:
        raise TemplateError(f"{text!r}: ** can stand at the end only")
    names = [variable.field for variable in variables]
    if len(set(names)) < len(names):
        raise TemplateError(f"{text!r} names a field twice")


class _Node(Generic[Target]):
    """What may follow the segments so far."""

    __slots__ = ("ends", "literals", "one", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[Target]] = {}
        self.one: _Node[Target] | None = None
        self.ends: dict[str, dict[str, Target]] = {}
        """By verb: what the path leads to, by HTTP method."""
        self.rest: dict[str, dict[str, Target]] = {}
        """The same where anything may follow."""


class Paths(Generic[Target]):
    """All templates, as a tree. A literal goes before `*`, and that before `**`."""

    def __init__(self) -> None:
        self._root: _Node[Target] = _Node()
        self._verbs: set[str] = set()

    def add(self, method: str, template: Template, target: Target) -> bool:
        """Have a method and paths lead to `target`; False: they lead elsewhere already."""
        node = self._root
        segments = list(template.segments)
        open_ended = segments[-1] == REST
        for segment in segments[:-1] if open_ended else segments:
            if segment == ONE:
                node.one = node = node.one or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        table = node.rest if open_ended else node.ends
        if template.verb:
            self._verbs.add(template.verb)
        methods = table.setdefault(template.verb, {})
        return methods.setdefault(method, target) is target

    def find(self, path: str) -> list[tuple[dict[str, Target], list[str]]]:
        """Return what a path leads to by HTTP method, with its segments, still encoded and without the verb.

        A path may lead to several, which may have different methods: the most specific comes first.
        """
        segments = path[1:].split("/", _MOST_SEGMENTS)
        last, _, verb = segments[-1].rpartition(":")
        found: list[tuple[dict[str, Target], list[str]]] = []
        if verb in self._verbs and last:
            self._walk(self._root, [*segments[:-1], last], 0, verb, found)
        self._walk(self._root, segments, 0, "", found)
        return found

    def _walk(
        self,
        node: _Node[Target],
        segments: list[str],
        at: int,
        verb: str,
        found: list[tuple[dict[str, Target], list[str]]],
    ) -> None:
        if at == len(segments):
            if verb in node.ends:
                found.append((node.ends[verb], segments))
        else:
            segment = segments[at]
            following = node.literals.get(segment)
            if following is not None:
                self._walk(following, segments, at + 1, verb, found)
            if node.one is not None and segment:
                self._walk(node.one, segments, at + 1, verb, found)
        if verb in node.rest:
            found.append((node.rest[verb], segments))


def value_of(variable: Variable, segments: list[str]) -> str:
    """Return what a path gives a variable. Raises UnicodeDecodeError for what is not UTF-8."""
    if variable.single:
        segment = segments[variable.start]
        return decoded(segment) if "%" in segment else segment
    taken = segments[variable.start :] if not variable.end else segments[variable.start : variable.end]
    text = "/".join(taken)
    if "%" not in text:
        return text
    return "".join([part if _ESCAPE.fullmatch(part) else decoded(part) for part in _ESCAPE.split(text)])


def decoded(text: str) -> str:
    """Return a text without its percent-encoding. Raises UnicodeDecodeError."""
    return unquote_to_bytes(text).decode()
