"""Parsers of single values."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.config.problems import BadValue
from edgewise.config.values import (
    check_field_value,
    check_hash_key,
    check_import_path,
    parse_duration,
    parse_network,
    parse_number,
    parse_size,
    parse_status_range,
)

INT_TRAPS = ["1_0", " 10", "10 ", "10\n", "+10", "-1", "٣", "²", "0x10", "1e3", "", "1.", ".5", "\x0b1", "nan", "inf"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("2s", 2.0), ("1.5s", 1.5), ("1m", 60.0), ("1h", 3600.0), ("0s", 0.0), (3, 3.0), (0.5, 0.5)],
)
def test_a_duration_is_a_number_with_a_unit_or_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", [*INT_TRAPS, *(trap + "s" for trap in INT_TRAPS), "1S", "1 s", "1d", "1m30s", "s", True, None, [], -1]
)
def test_nothing_else_is_a_duration(text: object) -> None:
    with pytest.raises(BadValue):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0B", 0),
        ("16KiB", 16384),
        ("64KB", 64000),
        ("1MiB", 1048576),
        ("100MB", 100_000_000),
        ("1GiB", 1 << 30),
        (7, 7),
    ],
)
def test_a_size_is_a_number_with_a_unit_or_bytes(text: object, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize(
    "text", [*INT_TRAPS, *(trap + "KB" for trap in INT_TRAPS), "1kb", "1K", "1.5MB", "KB", True, 1.5, None, -1]
)
def test_nothing_else_is_a_size(text: object) -> None:
    with pytest.raises(BadValue):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "close"), [("2 seconds", "2s"), ("5 S", "5s"), ("10min", "10m"), ("1_0s", ""), ("soon", ""), ("5d", "")]
)
def test_a_duration_spelled_otherwise_is_told_how_to_be_written(text: str, close: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse_duration(text)
    assert caught.value.nearest == close


@pytest.mark.parametrize(
    ("text", "close"), [("64kb", "64KB"), ("1 mib", "1MiB"), ("10k", "10KB"), ("1m", "1MB"), ("10", "")]
)
def test_a_size_spelled_otherwise_is_told_how_to_be_written(text: str, close: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse_size(text)
    assert caught.value.nearest == close


@given(st.text(alphabet=string.printable + "²٣"))
def test_a_number_is_read_from_ascii_digits_only(text: str) -> None:
    number = parse_number(text)
    plain = text.removeprefix("-").replace(".", "", 1)
    assert (number is None) or (set(plain) <= set(string.digits) and number == float(text))


@pytest.mark.parametrize(
    ("text", "network"), [("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128"), ("192.0.2.1", "192.0.2.1/32")]
)
def test_a_network_is_an_address_with_or_without_prefix(text: str, network: str) -> None:
    assert parse_network(text) == network


@pytest.mark.parametrize("text", ["10.0.0.1/8", "010.0.0.0/8", "10.0.0.0/33", "10/8", "", "host", "10.0.0.0/8 "])
def test_nothing_else_is_a_network(text: str) -> None:
    with pytest.raises(BadValue):
        parse_network(text)


def test_a_status_range_is_a_status_or_two() -> None:
    assert parse_status_range(204) == (204, 204)
    assert parse_status_range("200-399") == (200, 399)
    assert parse_status_range("503") == (503, 503)


@pytest.mark.parametrize("value", [99, 600, "399-200", "200-", "2xx", " 200", "200 - 299", True, -200])
def test_nothing_else_is_a_status_range(value: int | str) -> None:
    with pytest.raises(BadValue):
        parse_status_range(value)


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\0b", " a", "a\t", "€"])
def test_a_header_value_cannot_break_framing(text: str) -> None:
    with pytest.raises(BadValue):
        check_field_value(text)


@pytest.mark.parametrize("text", ["ip", "path", "header:X-User", "cookie:sid"])
def test_hash_keys(text: str) -> None:
    assert check_hash_key(text) == text


@pytest.mark.parametrize("text", ["header:", "cookie:a b", "ip:", "query:a", "", "header"])
def test_nothing_else_is_a_hash_key(text: str) -> None:
    with pytest.raises(BadValue):
        check_hash_key(text)


@pytest.mark.parametrize("text", ["app", "app:", ":app", "a.b.c", "a-b:c", "a:b:c", "a/b:c", "1a:b", "a..b:c", "a:b\n"])
def test_an_import_path_names_a_module_and_an_attribute(text: str) -> None:
    with pytest.raises(BadValue):
        check_import_path(text)
    assert check_import_path("shop.asgi:application") == "shop.asgi:application"
