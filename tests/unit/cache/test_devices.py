"""Which kind of device a request comes from, as documented, and what that makes of keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.cache.device import device_of
from edgewise.cache.key import Keys, KeySettings
from edgewise.http.head import Field, plain_head

ALL = (b"mobile", b"tablet")
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Version/17.1 Mobile/15E148"
PIXEL = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/120.0.0.0 Mobile Safari/537.36"
GALAXY_TAB = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"
IPAD = "Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) AppleWebKit/605.1.15 Version/12.1 Mobile/15E148 Safari/604.1"
FIREFOX_TABLET = "Mozilla/5.0 (Android 13; Tablet; rv:120.0) Gecko/120.0 Firefox/120.0"
KINDLE = "Mozilla/5.0 (Linux; Android 9; KFMAWI) AppleWebKit/537.36 Silk/118.2.4 like Chrome/118.0 Safari/537.36"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"
OLD_WINDOWS = "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Tablet PC 2.0)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.1 Safari/605.1.15"
LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"
GOOGLEBOT = "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) Chrome/120.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)"


def fields(agent: str | None, hint: str | None = None) -> tuple[Field, ...]:
    given = {"User-Agent": agent, "Sec-CH-UA-Mobile": hint}
    return tuple(
        Field(name.lower().encode(), value.encode("latin-1"), f"{name}: {value}\r\n".encode("latin-1"))
        for name, value in given.items()
        if value is not None
    )


@pytest.mark.parametrize(
    ("agent", "hint", "kind"),
    [
        (IPHONE, None, b"mobile"),
        (PIXEL, None, b"mobile"),
        (PIXEL, "?1", b"mobile"),
        (GOOGLEBOT, None, b"mobile"),
        (GALAXY_TAB, None, b"tablet"),
        (GALAXY_TAB, "?0", b"tablet"),
        (IPAD, None, b"tablet"),
        (FIREFOX_TABLET, None, b"tablet"),
        (KINDLE, None, b"tablet"),
        (WINDOWS, "?0", b"desktop"),
        (OLD_WINDOWS, None, b"desktop"),
        (MAC, None, b"desktop"),
        ("curl/8.5.0", None, b"desktop"),
        (None, None, b"desktop"),
        (None, "?1", b"mobile"),
        (LINUX, "?0", b"desktop"),  # "desktop site" asked for on a phone
        (PIXEL, "?0", b"desktop"),
        (PIXEL, "junk", b"mobile"),
    ],
)
def test_kinds_of_devices(agent: str | None, hint: str | None, kind: bytes) -> None:
    assert device_of(ALL)(fields(agent, hint)) == kind


def test_what_is_not_told_apart_is_a_desktop() -> None:
    phones, tablets = device_of((b"mobile",)), device_of((b"tablet",))
    assert (phones(fields(IPAD)), phones(fields(IPHONE))) == (b"desktop", b"mobile")
    assert (tablets(fields(IPAD)), tablets(fields(IPHONE))) == (b"tablet", b"desktop")


@given(agent=st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=2000))
def test_every_text_is_one_of_three_kinds(agent: str) -> None:
    assert device_of(ALL)(fields(agent)) in (b"mobile", b"tablet", b"desktop")


def test_a_kind_of_device_is_part_of_the_key_and_nothing_else_of_user_agent_is() -> None:
    keys = Keys(KeySettings(device=ALL))
    made = [
        keys.key(plain_head(fields=fields(agent)), b"https", b"a/") for agent in (IPHONE, PIXEL, IPAD, MAC, WINDOWS)
    ]
    assert made[0] == made[1]
    assert made[3] == made[4]
    assert len(set(made)) == 3
    assert sorted(set(made)) == sorted(keys.of_url(b"a/", b"https"))


def test_without_the_setting_keys_are_as_before() -> None:
    keys = Keys(KeySettings())
    assert keys.of_url(b"a/", b"https") == [keys.key(plain_head(fields=fields(IPHONE)), b"https", b"a/")]


def test_rfc9111_4_1_what_varies_on_user_agent_is_one_variant_for_each_kind() -> None:
    keys = Keys(KeySettings(device=ALL))
    names = (b"sec-ch-ua-mobile", b"user-agent", b"x-ua-device")
    variants = [keys.variants.key(names, fields(agent)) for agent in (IPHONE, PIXEL, IPAD, MAC, LINUX)]
    assert variants[0] == variants[1]
    assert variants[3] == variants[4]
    assert len(set(variants)) == 3
    plain = Keys(KeySettings())
    assert plain.variants.key(names, fields(IPHONE)) != plain.variants.key(names, fields(PIXEL))
