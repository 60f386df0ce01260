"""A certificate beside what other nodes share of it: the newer one counts, and each learns of the other's failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgewise.tls.development import DevelopmentAuthority
from edgewise.tls.entry import Entry
from edgewise.tls.managed import Managed
from edgewise.tls.shared import SharedCertificate
from edgewise.tls.store import Record, Store
from edgewise.tls.terms import Issuer
from support.fake_issuer import FakeIssuer
from support.manual_clock import ManualClock

AUTHORITY = DevelopmentAuthority()
START = datetime(2027, 1, 1, tzinfo=UTC)
NAME = "shop.test"
SOURCE = "https://ca.test/"
ISSUER: Issuer = FakeIssuer(ManualClock(START.timestamp()), SOURCE)


def bundle(day: int, name: str = NAME) -> bytes:
    pair = AUTHORITY.issue([name], starts=START + timedelta(days=day), days=90)
    return pair.key + pair.certificate


def record(day: int, **values: object) -> Record:
    values = {"source": SOURCE, "issued": (START + timedelta(days=day)).timestamp(), **values}
    return Record(**values)  # type: ignore[arg-type]


class Kept:
    """An entry and its store."""

    def __init__(self, directory: Path, pem: bytes | None = None, known: Record | None = None) -> None:
        self.store = Store(str(directory))
        if pem is not None:
            self.store.keep_certificate(NAME, pem)
        if known is not None:
            self.store.keep_record(NAME, known)
        self.entry = Entry(Managed(NAME, (NAME,), str(self.store.certificate_file(NAME)), ""), self.store)

    def compare(self, shared: SharedCertificate | None) -> bool:
        """Was a certificate stored?"""
        return self.entry.compare(shared, ISSUER, self.store)

    @property
    def stored(self) -> tuple[bytes | None, Record]:
        return self.store.certificate(NAME), self.store.record(NAME)


OLD, NEW = bundle(0), bundle(60)


def test_a_node_without_a_certificate_takes_the_one_that_is_shared(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert kept.compare(SharedCertificate(NEW, record(60)))
    assert kept.stored == (NEW, record(60))
    assert not kept.entry.unshared
    kept.entry.read(kept.store)
    assert not kept.compare(SharedCertificate(NEW, record(60)))
    assert kept.entry.due(ISSUER) > (START + timedelta(days=100)).timestamp()


def test_a_newer_certificate_replaces_an_older_one(tmp_path: Path) -> None:
    kept = Kept(tmp_path, OLD, record(0))
    assert kept.compare(SharedCertificate(NEW, record(60)))
    assert kept.stored == (NEW, record(60))


@pytest.mark.parametrize("shared", [None, SharedCertificate(OLD, record(0)), SharedCertificate(b"", Record())])
def test_an_older_certificate_or_none_is_to_be_replaced_by_this_nodes(
    tmp_path: Path, shared: SharedCertificate | None
) -> None:
    kept = Kept(tmp_path, NEW, record(60))
    assert not kept.compare(shared)
    assert kept.entry.unshared
    assert kept.stored == (NEW, record(60))


def test_of_two_that_begin_at_once_the_shared_one_counts_so_that_all_end_with_it(tmp_path: Path) -> None:
    twin = bundle(60)
    kept = Kept(tmp_path, NEW, record(60))
    assert kept.compare(SharedCertificate(twin, record(60)))
    assert kept.stored[0] == twin


def test_where_there_is_nothing_here_or_there_nothing_happens(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert not kept.compare(None)
    assert not kept.entry.unshared
    assert kept.stored == (None, Record())


def test_another_nodes_failures_count_here_too(tmp_path: Path) -> None:
    failed = Record(failures=2, tried=SOURCE, retry_at=START.timestamp() + 180.0, error="the authority is down")
    kept = Kept(tmp_path)
    assert not kept.compare(SharedCertificate(b"", failed))
    assert kept.stored == (None, failed)
    assert kept.entry.due(ISSUER) == failed.retry_at
    assert not kept.entry.unshared


def test_this_nodes_later_failure_is_to_be_shared_and_not_forgotten(tmp_path: Path) -> None:
    earlier, later = (record(60, failures=n, tried=SOURCE, retry_at=100.0 * n) for n in (1, 2))
    kept = Kept(tmp_path, NEW, later)
    assert not kept.compare(SharedCertificate(NEW, earlier))
    assert kept.entry.unshared
    assert kept.stored == (NEW, later)


def test_what_the_authority_said_of_the_same_certificate_is_taken(tmp_path: Path) -> None:
    told = record(60, window=(START.timestamp(), START.timestamp() + 9.0), ask_at=START.timestamp() + 5.0)
    kept = Kept(tmp_path, NEW, record(60))
    assert not kept.compare(SharedCertificate(NEW, told))
    assert kept.stored == (NEW, told)
    assert not kept.entry.unshared


@pytest.mark.parametrize(
    "pem",
    [
        b"junk",
        bundle(60, "other.test"),
        NEW.replace(b"-----END CERT", b"x-----END CERT"),
        OLD[: OLD.index(b"-----END")],
    ],
    ids=["junk", "of another name", "damaged", "cut off"],
)
def test_what_cannot_be_used_is_not_taken_and_is_replaced(tmp_path: Path, pem: bytes) -> None:
    kept = Kept(tmp_path, OLD, record(0))
    assert not kept.compare(SharedCertificate(pem, record(60)))
    assert kept.entry.unshared
    assert kept.stored == (OLD, record(0))


def test_a_certificate_of_another_authority_is_neither_taken_nor_shared(tmp_path: Path) -> None:
    kept = Kept(tmp_path, OLD, record(0, source="https://other.test/"))
    assert not kept.compare(SharedCertificate(NEW, record(60, source="https://other.test/")))
    assert not kept.entry.unshared
    assert kept.stored[0] == OLD


def test_a_renewal_that_was_asked_for_is_done_by_a_certificate_that_came_after(tmp_path: Path) -> None:
    kept = Kept(tmp_path, OLD, record(0))
    kept.entry.asked = (START + timedelta(days=61)).timestamp()
    kept.compare(SharedCertificate(NEW, record(60)))
    assert kept.entry.due(ISSUER) == 0.0, "that one came before somebody asked"
    kept.entry.read(kept.store)
    kept.compare(SharedCertificate(bundle(62), record(62)))
    kept.entry.read(kept.store)
    assert kept.entry.due(ISSUER) > 0.0


def test_what_is_to_be_revoked_waits_for_another_certificate(tmp_path: Path) -> None:
    kept = Kept(tmp_path, OLD, record(0))
    kept.entry.revoke = OLD
    assert not kept.entry.to_be_revoked
    kept.compare(SharedCertificate(NEW, record(60)))
    kept.entry.read(kept.store)
    assert kept.entry.to_be_revoked
