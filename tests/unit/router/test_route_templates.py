"""Rewrites and redirects: whatever the client sends, the result is a valid target that leads where its author meant."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.http.head import RequestHead, plain_head
from edgewise.protocols.errors import ProtocolError
from edgewise.router.templates import TemplateError, compile_redirect, compile_rewrite, strip_prefix

VALID = re.compile(rb"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*(?:\?[!-\"$-;=?-Z_a-z~%\[\]]*)?")


def head(path: bytes = b"/old/5", query: bytes | None = None, host: bytes = b"shop.example.com") -> RequestHead:
    return plain_head(b"GET", path, query, host)


@pytest.mark.parametrize(
    ("template", "query", "target"),
    [
        ("/items/{id}", None, b"/items/5"),
        ("/items/{id}", b"a=1", b"/items/5?a=1"),
        ("/items/{id}?", b"a=1", b"/items/5"),
        ("/items?id={id}", b"a=1", b"/items?id=5"),
        ("/items?id={id}&{query}", b"a=1", b"/items?id=5&a=1"),
        ("/v1{path}", None, b"/v1/old/5"),
        ("{path}", b"", b"/old/5"),
        ("/{host}/{scheme}", None, b"/shop.example.com/http"),
        ("/a/{missing}", None, b"/a/"),
    ],
)
def test_a_rewrite_fills_its_fields(template: str, query: bytes | None, target: bytes) -> None:
    assert compile_rewrite(template).render(head(query=query), {"id": b"5"}) == target


@pytest.mark.parametrize(
    ("template", "location"),
    [
        ("/new/{id}", b"/new/5?a=1"),
        ("https://{host}{path}", b"https://shop.example.com/old/5?a=1"),
        ("https://{host}:8443{path}", b"https://shop.example.com:8443/old/5?a=1"),
        ("https://www.{host}/", b"https://www.shop.example.com/?a=1"),
        ("{scheme}://other.example/x", b"https://other.example/x?a=1"),
        ("https://other.example", b"https://other.example/?a=1"),
        ("https://other.example?to={id}", b"https://other.example/?to=5"),
        ("https://other.example/#part", b"https://other.example/?a=1#part"),
        ("https://other.example/x?#part", b"https://other.example/x#part"),
    ],
)
def test_a_redirect_fills_its_fields(template: str, location: bytes) -> None:
    assert compile_redirect(template).render(head(query=b"a=1"), {"id": b"5"}, b"https") == location


@pytest.mark.parametrize(
    "template",
    [
        "https://{id}/",
        "https://{id}.example.com/",
        "https://other.example{id}",
        "https://user@other.example/",
        "https://{path}/",
        "https:///x",
        "//other.example/",
        "javascript:alert(1)",
        "ftp://other.example/",
        "new/{id}",
        "{id}",
        "{host}/x",
        "/search/{query}",
        "/x#{id}",
        "/x{",
        "",
    ],
)
def test_a_redirect_that_a_client_could_steer_is_refused_when_it_is_compiled(template: str) -> None:
    with pytest.raises(TemplateError):
        compile_redirect(template)


@pytest.mark.parametrize("template", ["items", "https://other.example/", "{id}", "/x#y", "/s/{query}", "/x}", ""])
def test_a_rewrite_that_is_no_path_is_refused_when_it_is_compiled(template: str) -> None:
    with pytest.raises(TemplateError):
        compile_rewrite(template)


@pytest.mark.parametrize("value", [b"/evil.example", b"//evil.example", b"\\evil.example", b"/\\evil.example"])
def test_a_redirect_to_a_path_never_leaves_for_another_host(value: bytes) -> None:
    location = compile_redirect("/{rest}").render(head(), {"rest": value}).decode()
    assert urlsplit(urljoin("https://shop.example.com/", location.replace("\\", "/"))).netloc == "shop.example.com"


def test_a_double_slash_in_the_request_is_not_taken_for_a_host() -> None:
    assert compile_redirect("{path}").render(head(path=b"//evil.example/"), {}) == b"/evil.example/"
    assert compile_rewrite("{path}").render(head(path=b"//evil.example/"), {}) == b"/evil.example/"


@pytest.mark.parametrize("value", [b"..", b".", b"../../etc", b"a/..", b"%2e%2E", b".%2e/x"])
@pytest.mark.parametrize("template", ["/files/{id}", "/{id}/x"])
def test_dot_segments_made_by_a_field_are_refused(template: str, value: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        compile_rewrite(template).render(head(), {"id": value})
    assert caught.value.status == 400


def test_a_path_parameter_cannot_add_a_query_parameter() -> None:
    target = compile_rewrite("/items?id={id}&admin=0").render(head(), {"id": b"5&admin=1;x=2+3"})
    assert target == b"/items?id=5%26admin%3D1%3Bx%3D2%2B3&admin=0"


def test_escapes_that_are_there_are_not_escaped_again() -> None:
    assert compile_rewrite("/i/{id}").render(head(), {"id": b"a%20b%2Fc"}) == b"/i/a%20b%2Fc"


def test_line_breaks_and_other_bytes_are_escaped() -> None:
    assert compile_redirect("/i/{id}").render(head(), {"id": b"a\r\nb: c\xff%"}) == b"/i/a%0D%0Ab:%20c%FF%25"


@pytest.mark.parametrize("host", [b"", b"evil.example/x", b"a b", b"a\r\nb", b"@evil.example"])
def test_a_redirect_to_the_requests_host_needs_a_valid_one(host: bytes) -> None:
    with pytest.raises(ProtocolError):
        compile_redirect("https://{host}{path}").render(head(host=host), {})


def test_a_redirect_to_an_ipv6_host_keeps_its_brackets() -> None:
    assert compile_redirect("https://{host}/").render(head(host=b"[::1]"), {}) == b"https://[::1]/"


def test_the_asterisk_form_redirects_to_a_path() -> None:
    assert compile_redirect("https://{host}{path}").render(head(path=b"*"), {}) == b"https://shop.example.com/*"


@given(st.binary(), st.none() | st.binary(), st.sampled_from(["/x/{id}", "/{id}", "/x?y={id}&{query}", "{path}"]))
def test_any_bytes_make_a_valid_target_or_are_refused(value: bytes, query: bytes | None, template: str) -> None:
    for compiled in (compile_rewrite(template), compile_redirect(template)):
        try:
            target = compiled.render(head(path=b"/" + value, query=query), {"id": value})
        except ProtocolError:
            continue
        assert VALID.fullmatch(target)
        assert not target.startswith(b"//")


@given(st.binary(), st.none() | st.binary())
def test_any_bytes_leave_the_origin_of_an_absolute_redirect_alone(value: bytes, query: bytes | None) -> None:
    try:
        location = compile_redirect("https://{host}/a/{id}").render(head(query=query), {"id": value})
    except ProtocolError:
        return
    assert location.startswith(b"https://shop.example.com/a/")
    assert VALID.fullmatch(location.removeprefix(b"https://shop.example.com"))


@pytest.mark.parametrize(
    ("path", "prefix", "stripped"),
    [
        (b"/api/users", b"/api", b"/users"),
        (b"/api/users", b"/api/", b"/users"),
        (b"/api", b"/api", b"/"),
        (b"/api/", b"/api", b"/"),
        (b"/apis", b"/api", b"/apis"),
        (b"/other", b"/api", b"/other"),
        (b"/api//evil.example", b"/api", b"/evil.example"),
        (b"/a", b"/", b"/a"),
        (b"*", b"/api", b"*"),
    ],
)
def test_a_prefix_is_stripped_by_whole_segments(path: bytes, prefix: bytes, stripped: bytes) -> None:
    assert strip_prefix(path, prefix) == stripped
