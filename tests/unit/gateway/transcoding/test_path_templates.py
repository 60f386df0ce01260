"""Path templates of google.api.http: what they are, what they match, and what they give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.gateway.transcoding.paths import Paths, TemplateError, parse_template, value_of


def tree(*templates: str) -> Paths[str]:
    """Return paths that lead to their own templates."""
    paths: Paths[str] = Paths()
    for text in templates:
        assert paths.add("GET", parse_template(text), text)
    return paths


def found(paths: Paths[str], path: str) -> tuple[str, dict[str, str]] | None:
    """Return the template that a path leads to, and its variables."""
    results = paths.find(path)
    if not results:
        return None
    methods, segments = results[0]
    text = methods["GET"]
    return text, {one.field: value_of(one, segments) for one in parse_template(text).variables}


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/v1/shelves", "/v1/shelves", {}),
        ("/v1/{shelf}", "/v1/a", {"shelf": "a"}),
        ("/v1/{shelf}", "/v1/a%2fb%20c", {"shelf": "a/b c"}),
        ("/v1/{name=shelves/*}", "/v1/shelves/1", {"name": "shelves/1"}),
        ("/v1/{name=shelves/*/books/**}", "/v1/shelves/1/books/a/b/c", {"name": "shelves/1/books/a/b/c"}),
        ("/v1/{name=shelves/*/books/**}", "/v1/shelves/1/books", {"name": "shelves/1/books"}),
        ("/v1/{name=**}", "/v1/a%2Fb/c%20d", {"name": "a%2Fb/c d"}),
        ("/v1/{name=files/*}", "/v1/files/a%2Fb", {"name": "files/a%2Fb"}),
        ("/v1/{a.b}/x/{c=*}", "/v1/1/x/2", {"a.b": "1", "c": "2"}),
        ("/v1/*/x", "/v1/anything/x", {}),
        ("/v1/{name=shelves/*}:move", "/v1/shelves/1:move", {"name": "shelves/1"}),
        ("/v1/{name=**}:move", "/v1/a/b:move", {"name": "a/b"}),
        ("/v1:read", "/v1:read", {}),
    ],
)
def test_paths_that_match_give_the_variables(template: str, path: str, values: dict[str, str]) -> None:
    assert found(tree(template), path) == (template, values)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/v1/shelves", "/v1/shelves/"),
        ("/v1/shelves", "/v1/Shelves"),
        ("/v1/{shelf}", "/v1/"),
        ("/v1/{shelf}", "/v1/a/b"),
        ("/v1/{name=shelves/*}", "/v1/shelves"),
        ("/v1/{name=shelves/*}:move", "/v1/shelves/1"),
        ("/v1/{name=shelves/*}:move", "/v1/shelves/1:copy"),
        ("/v1/{name=shelves/*}:move", "/v1/shelves/:move"),
        ("/v1/*/x", "/v1//x"),
    ],
)
def test_paths_that_do_not_match_lead_nowhere(template: str, path: str) -> None:
    assert found(tree(template), path) is None


def test_a_literal_goes_before_a_segment_and_that_before_the_rest() -> None:
    paths = tree("/v1/{name=**}", "/v1/{name=*}", "/v1/me", "/v1/{name=*}/x")
    assert [found(paths, path)[0] for path in ("/v1/me", "/v1/you", "/v1/me/x", "/v1/me/y")] == [  # type: ignore[index]
        "/v1/me", "/v1/{name=*}", "/v1/{name=*}/x", "/v1/{name=**}",
    ]  # fmt: skip


def test_a_colon_that_begins_no_verb_is_part_of_the_segment() -> None:
    paths = tree("/v1/{name=*}", "/v1/{name=*}:move")
    assert found(paths, "/v1/a:b") == ("/v1/{name=*}", {"name": "a:b"})
    assert found(paths, "/v1/a:b:move") == ("/v1/{name=*}:move", {"name": "a:b"})


def test_a_path_that_leads_to_several_has_the_methods_of_all() -> None:
    paths: Paths[str] = Paths()
    for method, text in (("GET", "/v1/{name=**}"), ("PUT", "/v1/{name=*}"), ("POST", "/v1/{name=*}:move")):
        paths.add(method, parse_template(text), text)
    assert [list(methods) for methods, _ in paths.find("/v1/a:move")] == [["POST"], ["PUT"], ["GET"]]


def test_one_method_and_path_lead_to_one_target_only() -> None:
    paths = tree("/v1/{name=*}")
    assert not paths.add("GET", parse_template("/v1/{other}"), "another")
    assert paths.add("PUT", parse_template("/v1/{other}"), "another")


@pytest.mark.parametrize(
    "template",
    ["v1", "/v1/{}", "/v1/{=a}", "/v1/{a}b", "/v1/{a=**}/x", "/v1/**/x", "/v1/{a}/{a}", "/v1/a b", "/v1//x", "/v1:",
     "/v1/{a={b}}", "/v1/{a", "/v1/{a..b}", "/"],
)  # fmt: skip
def test_what_is_no_template_is_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        parse_template(template)


@given(st.text(max_size=30))
def test_any_text_is_a_template_or_is_refused(text: str) -> None:
    try:
        parse_template(text)
    except TemplateError:
        return


@given(st.text("/:*{}=ab%", max_size=30))
def test_any_path_can_be_looked_up(text: str) -> None:
    tree("/a/{x=**}:b", "/{y=a/*}", "/{z=**}").find("/" + text)


def test_text_that_is_not_utf_8_is_told() -> None:
    with pytest.raises(UnicodeDecodeError):
        found(tree("/{x}"), "/%ff")
