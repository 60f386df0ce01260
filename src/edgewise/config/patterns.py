"""Syntax of host patterns, path patterns and templates of a route. Matching is the router's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgewise.config.problems import BadValue, nearest, show

TEMPLATE_NAMES = ("scheme", "host", "path", "query")
"""Names a template may use beside the parameters of the route's path."""
REST = "rest"
"""Parameter that holds what "*" at the end of a path pattern matched."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_IPV6 = re.compile(r"\[[0-9a-f:.]+\]")
_LITERAL = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-Fa-f]{2})*")
_PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\*?)\}")
_FIELD = re.compile(r"\{([^{}]*)\}")
_ABSOLUTE = re.compile(r"(?:https?|\{scheme\})://(?:[A-Za-z0-9._:\[\]-]|\{host\})+(?:(?:[/?#]|\{path\}).*)?")
_FORBIDDEN = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
_PATH = 'a path such as "/a", "/a/*", "/users/{id}/posts" or "/files/{rest*}"'
_REWRITE = 'a path such as "/items/{id}" or "/v2{path}"'
_REDIRECT = 'a path such as "/new/{id}", or a URL such as "https://{host}{path}" whose host is plain text or {host}'
_HOSTS = 'a host name such as "shop.example.com" or "*.example.com"'


def check_host(text: str) -> str:
    """Return a host pattern: a lower-case name or address without port, or "*." and a name. Raises BadValue."""
    if _HOST.fullmatch(text) or _IPV6.fullmatch(text):
        return text
    close = text.lower().split("://")[-1].split("/")[0].rstrip(".")
    close = re.sub(r":[0-9]+\Z", "", close)
    raise BadValue(f"{show(text)} is not a host pattern", _HOSTS, close if _HOST.fullmatch(close) else "")


def check_certificate_name(text: str) -> str:
    """Return a host name that an ACME authority could certify by http-01 or tls-alpn-01. Raises BadValue."""
    if text.startswith("*."):
        message = f"{show(text)} is a wildcard, for which the challenges http-01 and tls-alpn-01 get no certificate"
        raise BadValue(message, "exact names; a certificate for a wildcard goes into tls.certificates")
    check_host(text)
    if text.startswith("[") or not any(character.isalpha() for character in text):
        raise BadValue(f"{show(text)} is an address, for which no certificate can be had by ACME here", "a host name")
    return text


def check_path(text: str) -> str:
    """Return a path pattern: exact, prefix ("/*" last), or with "{name}" segments, "{name*}" last. Raises BadValue."""
    path_parameters(text)
    return text


def path_parameters(text: str) -> list[str]:
    """Return the names of the parameters of a path pattern in order; `REST` for a "*" at its end. Raises BadValue."""
    if not text.startswith("/"):
        raise BadValue(f"{show(text)} does not begin with a slash", _PATH, _with_slash(text))
    segments = text[1:].split("/")
    names = []
    for index, segment in enumerate(segments):
        name = _segment(segment, index == len(segments) - 1, text)
        if name in names:
            raise BadValue(f'{show(text)} has the parameter "{name}" twice', _PATH)
        if name:
            names.append(name)
    return names


def _with_slash(text: str) -> str:
    """Return a path pattern that lacks only its slash with it, else ""."""
    try:
        return check_path("/" + (text or "*"))
    except BadValue:
        return ""


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
        raise BadValue(f"{show(text)} can never match: no request arrives here with {show(segment)}", _PATH)
    if not _LITERAL.fullmatch(segment):
        close = text[:-1] + "/*" if last and text.endswith("*") and _LITERAL.fullmatch(segment[:-1]) else ""
        raise BadValue(f"{show(segment)} in {show(text)} is neither plain text nor a parameter", _PATH, close)
    return ""


def check_prefix(text: str) -> str:
    """Return a plain path prefix that begins with a slash. Raises BadValue."""
    if not text.startswith("/") or not _is_plain(text):
        close = "/" + text if text and not text.startswith("/") and _is_plain(text) else ""
        raise BadValue(f"{show(text)} is not a path prefix", 'plain text after a slash, such as "/api"', close)
    return text


def _is_plain(text: str) -> bool:
    return all(_LITERAL.fullmatch(segment) for segment in text.split("/"))


def check_rewrite(text: str) -> str:
    """Return the template of a path to send on: "/" or "{path}" first, no fragment. Raises BadValue."""
    _check_template(text, _REWRITE)
    if not text.startswith(("/", "{path}")) or "#" in text:
        close = f"/{text}" if text and not text.startswith("/") and "://" not in text and "#" not in text else ""
        raise BadValue(f"{show(text)} is not a rewrite", _REWRITE, close)
    return text


def check_redirect(text: str) -> str:
    """Return the template of a Location: a path, or a URL whose host is plain text or {host}. Raises BadValue."""
    _check_template(text, _REDIRECT)
    path = text.startswith(("/", "{path}")) and not text.startswith("//")
    if not path and not _ABSOLUTE.fullmatch(text):
        close = f"https://{text}" if _HOST.match(text) and "." in text.split("/")[0] else ""
        raise BadValue(f"{show(text)} is not a redirect", _REDIRECT, close)
    return text


def _check_template(text: str, expected: str) -> None:
    target, _, fragment = text.partition("#")
    rest = _FIELD.sub("", text)
    if "{" in rest or "}" in rest or not all(_PARAMETER_NAME.fullmatch(name) for name in _FIELD.findall(text)):
        raise BadValue(f"{show(text)} has a brace that belongs to no name", expected)
    if any(ord(character) <= 32 or ord(character) >= 127 for character in text):
        raise BadValue(f"{show(text)} has characters that no URL may have", "ASCII without spaces, the rest encoded")
    if "{query}" in target.partition("?")[0] or "{" in fragment:
        raise BadValue(f"{show(text)} has a name where it cannot stand", '{query} after "?", none after "#"')


def unknown_fields(text: str, parameters: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (message, expected, nearest) for each name in a template that is no parameter nor in TEMPLATE_NAMES."""
    known = [*parameters, *TEMPLATE_NAMES]
    for name in _FIELD.findall(text):
        if name not in known and _PARAMETER_NAME.fullmatch(name):
            yield f'"{name}" is no parameter of the path', "one of " + ", ".join(known), nearest(name, known)
