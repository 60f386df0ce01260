"""Syntax of host patterns, path patterns and templates of a route. Matching is the router's."""

from __future__ import annotations

import re

from edgewise.config.problems import BadValue, nearest, show

TEMPLATE_NAMES = ("scheme", "host", "path", "query")
"""Names a template may use beside the parameters of the route's path."""
REST = "rest"
"""Parameter that holds what "*" at the end of a path pattern matched."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_IPV6 = re.compile(r"\[[0-9a-f:.]+\]")
_LITERAL = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})*")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\*?)\}")
_FIELD = re.compile(r"\{([^{}]*)\}")
_FORBIDDEN = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
_PATH = 'a path such as "/a", "/a/*", "/users/{id}/posts" or "/files/{rest*}"'
_HOSTS = 'a host name such as "shop.example.com" or "*.example.com"'


def check_host(text: str) -> str:
    """Return a host pattern: a lower-case name or address without port, or "*." and a name. Raises BadValue."""
    if _HOST.fullmatch(text) or _IPV6.fullmatch(text):
        return text
    close = text.lower().split("://")[-1].split("/")[0].rstrip(".")
    close = re.sub(r":[0-9]+\Z", "", close)
    raise BadValue(f"{show(text)} is not a host pattern", _HOSTS, close if _HOST.fullmatch(close) else "")


def check_path(text: str) -> str:
    """Return a path pattern: exact, prefix ("/*" last), or with "{name}" segments, "{name*}" last. Raises BadValue."""
    path_parameters(text)
    return text


def path_parameters(text: str) -> list[str]:
    """Return the names of the parameters of a path pattern in order; `REST` for a "*" at its end. Raises BadValue."""
    if not text.startswith("/"):
        close = "/" + text if text else "/*"
        raise BadValue(f"{show(text)} does not begin with a slash", _PATH, close)
    segments = text[1:].split("/")
    names = []
    for index, segment in enumerate(segments):
        name = _segment(segment, index == len(segments) - 1, text)
        if name in names:
            raise BadValue(f'{show(text)} has the parameter "{name}" twice', _PATH)
        if name:
            names.append(name)
    return names


def _segment(segment: str, last: bool, text: str) -> str:
    """Return the parameter a segment holds, "" for a literal one."""
    parameter = _PARAMETER.fullmatch(segment)
    if segment == "*" or (parameter and parameter[2]):
        if not last:
            raise BadValue(f"{show(text)} goes on after {show(segment)}", _PATH)
        return parameter[1] if parameter else REST
    if parameter:
        return parameter[1]
    if segment in (".", "..") or _FORBIDDEN.search(segment):
        raise BadValue(f"{show(text)} can never match, since requests with {show(segment)} are refused or resolved", _PATH)
    if not _LITERAL.fullmatch(segment):
        close = text[:-1] + "/*" if last and text.endswith("*") and _LITERAL.fullmatch(segment[:-1]) else ""
        raise BadValue(f"{show(segment)} in {show(text)} is neither plain text nor a parameter", _PATH, close)
    return ""


def check_prefix(text: str) -> str:
    """Return a plain path prefix that begins with a slash. Raises BadValue."""
    if not text.startswith("/") or not all(_LITERAL.fullmatch(segment) for segment in text.split("/")):
        close = "/" + text if text and not text.startswith("/") and check_plain("/" + text) else ""
        raise BadValue(f"{show(text)} is not a path prefix", 'plain text that begins with a slash, such as "/api"', close)
    return text


def check_plain(text: str) -> bool:
    """Return whether a path has only literal segments."""
    return all(_LITERAL.fullmatch(segment) for segment in text.split("/"))


def check_template(text: str) -> str:
    """Return a template: text with "{name}" fields. Raises BadValue."""
    template_fields(text)
    return text


def template_fields(text: str) -> list[str]:
    """Return the names a template uses, in order. Raises BadValue."""
    rest = _FIELD.sub("", text)
    names = _FIELD.findall(text)
    if "{" in rest or "}" in rest or any(not _PARAMETER.fullmatch(f"{{{name}}}") or name.endswith("*") for name in names):
        raise BadValue(f"{show(text)} is not a template", 'text with names in braces, such as "/items/{id}"')
    if any(ord(character) <= 32 or ord(character) >= 127 for character in text):
        raise BadValue(f"{show(text)} has characters that no URL may have", "ASCII without spaces, others percent-encoded")
    return names


def check_fields(text: str, parameters: list[str]) -> None:
    """Raise BadValue where a template uses a name that is neither a parameter nor one of TEMPLATE_NAMES."""
    known = [*parameters, *TEMPLATE_NAMES]
    for name in template_fields(text):
        if name not in known:
            raise BadValue(f'"{name}" is no parameter of the path', "one of " + ", ".join(known), nearest(name, known))
