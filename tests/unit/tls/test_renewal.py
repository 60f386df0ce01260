"""When certificates are renewed and how long failures wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from edgewise.tls.acme.messages import AcmeError
from edgewise.tls.development import DevelopmentAuthority
from edgewise.tls.renewal import backoff, identifier, parse_window, renew_at

AUTHORITY = DevelopmentAuthority()
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = 86400.0


def certificate(days: float, starts: datetime = NOW) -> x509.Certificate:
    return x509.load_pem_x509_certificate(AUTHORITY.issue(["a.test"], starts=starts, days=days).certificate)


@pytest.mark.parametrize("days", [0.001, 1, 6, 90, 398])
def test_a_certificate_is_renewed_when_a_third_of_its_life_is_left(days: float) -> None:
    whole = certificate(days)
    end, third = whole.not_valid_after_utc.timestamp(), days * DAY / 3
    assert end - third - 1 <= renew_at(whole, 0.0) <= end - third * 0.9 + 1


def test_certificates_made_at_once_are_not_renewed_at_once_and_each_has_one_time() -> None:
    some = [certificate(90) for _ in range(12)]
    assert len({round(renew_at(each, 0.0)) for each in some}) > 6
    assert renew_at(some[0], 0.0) == renew_at(some[0], 0.0)


def test_a_certificate_that_came_late_in_its_life_is_not_due_at_once() -> None:
    late = certificate(1, NOW - timedelta(hours=23, minutes=59))
    issued = NOW.timestamp()
    assert issued + 39 <= renew_at(late, issued) < late.not_valid_after_utc.timestamp()


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_authoritys_window_counts_but_never_makes_a_loop(start: float, length: float) -> None:
    whole, issued = WHOLE, NOW.timestamp()
    begin = issued + start - 5e5
    at = renew_at(whole, issued, (begin, begin + length))
    assert at >= issued + 3600
    assert at == issued + 3600 or begin <= at <= begin + length


WHOLE = certificate(90)


def test_failures_wait_three_times_as_long_each_time_up_to_half_a_day() -> None:
    waits = [backoff(count, 60.0) for count in range(1, 40)]
    for wait, expected in zip(waits, (60, 180, 540, 1620, 4860, 14580, 43200, 43200), strict=False):
        assert expected <= wait <= expected * 1.1
    assert max(waits) <= 43200 * 1.1


@given(st.integers(1, 100), st.floats(0.01, 100), st.floats(0, 1e6))
def test_no_wait_is_shorter_than_the_authority_asked(failures: int, first: float, asked: float) -> None:
    assert backoff(failures, first, asked) >= asked


def test_a_certificate_is_named_by_authority_and_serial() -> None:
    # RFC 9773 section 4.1: the serial is the DER integer's content, with a leading zero where its first bit is set.
    found = identifier(WHOLE)
    assert found is not None
    key, _, serial = found.partition(".")
    assert key
    assert serial
    assert "=" not in found


def test_a_window_is_read_as_times() -> None:
    start, end, again = parse_window("2027-01-01T00:00:00Z", "2027-01-01T01:00:00.5+01:00", 5.0)
    assert (start, end) == (1798761600.0, 1798761600.5)
    assert again >= NOW.timestamp() + 60


@pytest.mark.parametrize(
    ("start", "end"),
    [("2027-01-02T00:00:00Z", "2027-01-01T00:00:00Z"), ("yesterday", "2027-01-01T00:00:00Z"),
     ("2027-01-01T00:00:00", "2027-01-02T00:00:00"), ("2027-13-01T00:00:00Z", "2027-01-02T00:00:00Z"), ("", "")],
)  # fmt: skip
def test_a_window_that_is_none_is_an_error(start: str, end: str) -> None:
    with pytest.raises(AcmeError):
        parse_window(start, end, 0.0)
