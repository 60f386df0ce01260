"""What the supervisor tells workers of certificates, and when the control process hears that all have it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from edgewise.server import messages as m
from edgewise.server.certificates import Certificates
from edgewise.server.supervisor import Supervisor


@dataclass
class Worker:
    name: str
    channel: object | None = field(default_factory=object)


@dataclass
class Recorder:
    """Stands for the supervisor and its children."""

    workers: list[Worker]
    sent: list[tuple[str, m.ToChild]] = field(default_factory=list)

    @property
    def children(self) -> Recorder:
        return self

    def send(self, child: Any, message: m.ToChild) -> None:
        self.sent.append((child.name, message))


def published(*workers: Worker) -> tuple[Certificates, Recorder, list[str]]:
    recorder, done = Recorder(list(workers)), list[str]()
    certificates = Certificates(cast(Supervisor, recorder), None)
    certificates.publish({"token": "value"}, {"a.test": "a.pem"}, lambda: done.append("first"))
    return certificates, recorder, done


def test_it_is_done_when_every_worker_answered() -> None:
    certificates, recorder, done = published(Worker("w0"), Worker("w1"))
    assert [name for name, _ in recorder.sent] == ["w0", "w1"]
    certificates.taken("w0", 1)
    certificates.taken("w0", 1)
    assert done == []
    certificates.taken("w1", 1)
    assert done == ["first"]


def test_a_worker_that_dies_is_not_waited_for_and_its_replacement_is_told_with_its_setup() -> None:
    certificates, _, done = published(Worker("w0"), Worker("w1"))
    certificates.taken("w0", 1)
    certificates.lost("w1")
    assert done == ["first"]
    assert certificates.current == m.Certificates(1, {"token": "value"}, {"a.test": "a.pem"})


def test_without_workers_there_is_nothing_to_wait_for() -> None:
    _, recorder, done = published(Worker("w0", None))
    assert recorder.sent == []
    assert done == ["first"]


def test_each_round_is_answered_for_itself() -> None:
    certificates, _, done = published(Worker("w0"))
    certificates.publish({}, {}, lambda: done.append("second"))
    certificates.taken("w0", 2)
    assert done == ["second"]
    certificates.taken("w0", 1)
    certificates.taken("w0", 1)
    assert done == ["second", "first"]
