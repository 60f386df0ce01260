from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.config.transform import KINDS, NAMES
from edgewise.contracts.exchange import Exchange
from edgewise.contracts.identity import Identity
from edgewise.contracts.plan import Plan, Route
from edgewise.gateway.target_edits import TargetEdits
from edgewise.gateway.templates import _OF_EXCHANGE, _OF_HEAD, _WITH_ARGUMENT, Known, Template, TemplateError
from edgewise.http.head import Field, plain_head
from edgewise.protocols.errors import ProtocolError


class Client:
    tls = True

    def client_ip(self) -> str:
        return "192.0.2.7"


def known(identity: Identity | None = None, query: bytes = b"q=a%20b", **fields: bytes) -> Known:
    pairs = tuple(Field(name.encode(), value, b"%b: %b\r\n" % (name.encode(), value)) for name, value in fields.items())
    head = plain_head(b"POST", b"/users/7/a%C3%A9", query, b"api.example.com", pairs)
    exchange = Exchange(Client(), Plan(Route("route", 0), head), 0.0, "f" * 32)
    exchange.identity = identity
    return Known(head, {"id": b"7", "rest": b"a/b%20c"}, b"https", exchange)


ADA = Identity(
    "ada", "jwt", consumer="shop", groups=frozenset(("b", "a")), claims={"org": {"id": 5}, "tags": ["x", "y"]}
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("fixed", b"fixed"),
        ("{method} {scheme}://{host}{path}", b"POST https://api.example.com/users/7/a%C3%A9"),
        ("{client_ip}", b"192.0.2.7"),
        ("{request_id}", b"f" * 32),
        ("{identity}/{consumer}/{auth}", b"ada/shop/jwt"),
        ("{groups}", b"a,b"),
        ("{claim:org.id}", b"5"),
        ("{claim:tags}", b"x,y"),
        ("{header:X-Tenant}", b"t 1"),
        ("{query:q}", b"a b"),
        ("user-{id}", b"user-7"),
        ("{rest}", b"a/b c"),
        ("{none}", b""),
        ("with {claim:none}", b""),
        ("{scopes}", b""),
    ],
)
def test_templates_are_filled_for_fields(text: str, value: bytes) -> None:
    assert Template(text).in_field(known(ADA, **{"x-tenant": b"t 1"})) == value


def test_templates_are_filled_for_paths_queries_and_json() -> None:
    seen = known(ADA, **{"x-tenant": b"a/b?c&d=1 \xc3\xa9"})
    assert Template("/t/{header:X-Tenant}/{rest}{path}").in_path(seen) == (
        b"/t/a%2Fb%3Fc%26d%3D1%20%C3%A9/a/b%20c/users/7/a%C3%A9"
    )
    assert Template("x{header:X-Tenant}").in_query(seen) == b"xa%2Fb%3Fc%26d%3D1%20%C3%A9"
    assert Template("{claim:org.id}").in_json(seen) == 5
    assert Template("{claim:org}").in_json(seen) == {"id": 5}
    assert Template("n{claim:org.id}").in_json(seen) == "n5"
    assert Template("{claim:none}").in_json(seen) is None


@pytest.mark.parametrize("text", ["{", "}", "{}", "{a b}", "{other:x}", "{claim}", "{header:}", "{{identity}}"])
def test_templates_that_cannot_be_filled_are_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        Template(text)


def test_the_configuration_knows_the_same_names() -> None:
    assert set(NAMES) == _OF_HEAD.keys() | _OF_EXCHANGE.keys()
    assert set(KINDS) == _WITH_ARGUMENT.keys()


def test_what_follows_from_the_head_alone_is_known() -> None:
    assert Template("{path}{header:a}{query:b}{id}{method}{host}").of_head
    assert not any(Template(text).of_head for text in ("{identity}", "{client_ip}", "{claim:a}", "{request_id}"))


FIELDS = ["{header:x}", "{query:q}", "{claim:c}", "{identity}", "{id}", "{path}"]


@given(st.binary(max_size=40), st.text(max_size=40), st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4))
def test_no_value_gets_a_control_character_anywhere_or_leaves_its_place(
    raw: bytes, text: str, names: list[str]
) -> None:
    identity = Identity(text, "jwt", claims={"c": text})
    seen = known(identity, b"q=" + raw.replace(b"&", b""), x=raw)
    template = Template("a".join(names))
    assert not re.search(rb"[\x00-\x1f\x7f]", template.in_field(seen))
    assert re.fullmatch(rb"[!-~]*", template.in_path(seen))
    assert not re.search(rb"[?#]", template.in_path(seen))
    assert re.fullmatch(rb"[^\x00-\x20\x7f-\xff&=#+]*", template.in_query(seen))
    segment = Template("/{header:x}/end").in_path(seen)
    assert segment == b"" or segment.count(b"/") == 2


# ---- targets ---------------------------------------------------------------------------------------------------------


def pairs(**templates: str) -> tuple[tuple[bytes, Template], ...]:
    return tuple((name.encode(), Template(text)) for name, text in templates.items())


@pytest.mark.parametrize(
    ("edits", "target"),
    [
        (TargetEdits(remove=frozenset((b"a",))), b"/p?b=2&c"),
        (TargetEdits(remove=frozenset((b"a", b"b", b"c"))), b"/p"),
        (TargetEdits(rename=((b"a", b"x y"),)), b"/p?x%20y=1&b=2&x%20y=3&c"),
        (TargetEdits(set=pairs(a="{identity}&", d="4")), b"/p?b=2&c&a=ada%26&d=4"),
        (TargetEdits(set=pairs(a="{claim:none}")), b"/p?b=2&c"),
        (TargetEdits(add=pairs(b="5")), b"/p?a=1&b=2&%61=3&c&b=5"),
        (TargetEdits(path=Template("/v2{path}")), b"/v2/users/7/a%C3%A9?a=1&b=2&%61=3&c"),
        (TargetEdits(path=Template("/of/{identity}")), b"/of/ada?a=1&b=2&%61=3&c"),
    ],
)
def test_targets_are_edited(edits: TargetEdits, target: bytes) -> None:
    assert edits.edited(b"/p?a=1&b=2&%61=3&c", known(ADA)) == target


@pytest.mark.parametrize("identity", [None, Identity("..", "jwt"), Identity(".", "jwt")])
def test_a_path_that_lacks_a_value_or_leaves_its_place_is_refused(identity: Any) -> None:
    with pytest.raises(ProtocolError) as refused:
        TargetEdits(path=Template("/of/{identity}/x")).edited(b"/", known(identity))
    assert refused.value.status == 400
