"""What an address asked in vain is remembered for a while, within bounds."""

from __future__ import annotations

import logging

import pytest

from edgewise.proxy.http2_glitches import FORGIVE_SECONDS, AddressGlitches

LIMIT = 1000


def test_an_address_answers_for_all_its_connections() -> None:
    glitches = AddressGlitches()
    assert not glitches.charge("192.0.2.1", 600, LIMIT, 0.0)
    assert not glitches.charge("192.0.2.1", 400, LIMIT, 0.0)
    assert glitches.charge("192.0.2.1", 1, LIMIT, 0.0)
    assert not glitches.charge("192.0.2.2", 1, LIMIT, 0.0)


def test_half_is_forgotten_every_half_minute() -> None:
    glitches = AddressGlitches()
    glitches.charge("192.0.2.1", 800, LIMIT, 10.0)
    assert glitches.score("192.0.2.1", 10.0) == 800
    assert glitches.score("192.0.2.1", 10.0 + FORGIVE_SECONDS) == pytest.approx(400)
    assert not glitches.charge("192.0.2.1", 500, LIMIT, 10.0 + FORGIVE_SECONDS)


def test_who_passes_the_limit_is_over_it_for_half_a_minute_however_much_it_was() -> None:
    glitches = AddressGlitches()
    for _ in range(50):
        glitches.charge("192.0.2.1", 100_000, LIMIT, 0.0)
    assert glitches.score("192.0.2.1", FORGIVE_SECONDS - 0.1) > LIMIT
    assert glitches.score("192.0.2.1", FORGIVE_SECONDS + 0.1) < LIMIT


def test_addresses_of_one_ipv6_network_answer_together() -> None:
    glitches = AddressGlitches()
    glitches.charge("2001:db8:0:1::1", 600, LIMIT, 0.0)
    assert glitches.charge("2001:db8:0:1:ffff::2", 600, LIMIT, 0.0)
    assert glitches.score("2001:db8:0:2::1", 0.0) == 0


def test_the_table_keeps_the_addresses_charged_last() -> None:
    glitches = AddressGlitches(entries=3)
    for address in ("a", "b", "c", "a", "d"):
        glitches.charge(address, 10, LIMIT, 0.0)
    assert len(glitches) == 3
    assert [glitches.score(address, 0.0) for address in "abcd"] == [20, 0, 10, 10]


def test_a_look_leaves_nothing_behind() -> None:
    glitches = AddressGlitches()
    assert glitches.score("192.0.2.1", 0.0) == 0
    assert len(glitches) == 0


def test_the_log_says_it_once_and_not_for_every_address_of_a_flood(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    glitches = AddressGlitches()
    log = logging.getLogger("edgewise.http2")
    monkeypatch.setattr(log, "handlers", [caplog.handler])  # other tests may have configured the loggers above it
    monkeypatch.setattr(log, "propagate", False)
    monkeypatch.setattr(log, "disabled", False)
    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
    with caplog.at_level(logging.WARNING, "edgewise.http2"):
        for _ in range(3):
            glitches.charge("192.0.2.1", 2 * LIMIT, LIMIT, 10.0)
        for last in range(2, 200):
            glitches.charge(f"192.0.2.{last}", 2 * LIMIT, LIMIT, 10.5)
        glitches.charge("192.0.2.200", 2 * LIMIT, LIMIT, 12.0)
    told = [str(record.args[0]) for record in caplog.records if isinstance(record.args, tuple)]
    assert told == ["192.0.2.1", "192.0.2.200"]
