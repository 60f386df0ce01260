"""Accept-Encoding (RFC 9110 section 12.5.3): weights, wildcards, what is malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.http.negotiation import codings

OFFERED = (b"br", b"zstd", b"gzip")


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (b"", []),
        (b"gzip", [b"gzip"]),
        (b"GZIP", [b"gzip"]),
        (b"x-gzip", [b"gzip"]),
        (b"gzip, deflate, br, zstd", [b"br", b"zstd", b"gzip"]),
        (b"gzip;q=1.0, br;q=0.5", [b"gzip", b"br"]),
        (b"gzip;q=0.8,br;q=0.9,zstd;Q=1", [b"zstd", b"br", b"gzip"]),
        (b"br;q=0, gzip", [b"gzip"]),
        (b"*", [b"br", b"zstd", b"gzip"]),
        (b"*;q=0", []),
        (b"*;q=0, gzip", [b"gzip"]),
        (b"*;q=0.5, gzip;q=0.7, br;q=0", [b"gzip", b"zstd"]),
        (b"identity", []),
        (b"identity;q=0.5, gzip;q=0.4, br;q=0.5", [b"br"]),
        (b"identity;q=0, gzip;q=0.1", [b"gzip"]),
        (b"deflate, compress", []),
        (b"gzip ; q=0.5", [b"gzip"]),
        (b"gzip, gzip;q=0", [b"gzip"]),
    ],
)
def test_what_a_client_prefers(accepted: bytes, expected: list[bytes]) -> None:
    assert list(codings(accepted, OFFERED)) == expected


@pytest.mark.parametrize(
    "accepted", [b"gzip;q=2", b"gzip;q=0.1234", b"gzip;q=-1", b"gzip;level=9", b"g zip", b"gzip;q"]
)
def test_malformed_members_are_passed_over(accepted: bytes) -> None:
    assert codings(accepted, OFFERED) == ()
    assert codings(accepted + b", br", OFFERED) == (b"br",)


def test_an_overlong_field_accepts_nothing() -> None:
    assert codings(b"br," * 200, OFFERED) == ()


@given(st.binary(max_size=80), st.permutations(OFFERED))
def test_only_what_is_offered_comes_back_once(accepted: bytes, offered: list[bytes]) -> None:
    found = codings(accepted, tuple(offered))
    assert len(set(found)) == len(found)
    assert set(found) <= set(offered)


@given(st.dictionaries(st.sampled_from([*OFFERED, b"identity", b"*"]), st.integers(0, 10)))
def test_the_order_is_that_of_the_weights(weights: dict[bytes, int]) -> None:
    field = b", ".join(b"%b;q=%d.%d" % (name, tenths // 10, tenths % 10) for name, tenths in weights.items())
    found = codings(field, OFFERED)
    weight = {coding: weights.get(coding, weights.get(b"*", 0)) for coding in OFFERED}
    assert [weight[coding] for coding in found] == sorted((weight[coding] for coding in found), reverse=True)
    assert all(weight[coding] and weight[coding] >= weights.get(b"identity", 0) for coding in found)
    assert all(not weight[coding] or weight[coding] < weights.get(b"identity", 0) for coding in set(OFFERED) - {*found})
