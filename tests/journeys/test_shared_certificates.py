"""Two real nodes that share certificates by a real engine, and a real authority that looks at either of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgewise.contracts.sealing import Sealer
from edgewise.tls.shared import PURPOSE
from support.alternating import Alternating
from support.edgewise_process import free_port, wait_until
from support.https_site import NAME, HttpsSite
from support.pebble import Pebble, needs_pebble
from support.state_servers import NatsServer, StateServer, ValkeyServer

pytestmark = [pytest.mark.gate, needs_pebble, pytest.mark.timeout(240)]
OTHER = "api.example.com"
KEY = "a secret of thirty-two characters"
TAKE_OVER = 60.0
"""Seconds: a lease, signs of life of a node that died, and a slow order."""


class Cluster:
    """An engine, an authority, and nodes that stand behind one address."""

    def __init__(
        self,
        directory: Path,
        server: type[NatsServer | ValkeyServer],
        lines: str = "",
        hosts: tuple[str, ...] = (NAME,),
    ) -> None:
        """`lines` are those of [tls.acme] beside what all have."""
        self._directory, self._lines, self._hosts = directory, lines, hosts
        (directory / "engine").mkdir()
        self.engine: StateServer = server(directory / "engine")
        self.engine.start()
        self.ports = [(free_port(), free_port(), free_port()) for _ in range(2)]
        self.plain = Alternating([plain for plain, _, _ in self.ports])
        self.tls = Alternating([tls for _, tls, _ in self.ports])
        self.pebble = Pebble(directory / "pebble", self.plain.port, self.tls.port)
        self.sites: list[HttpsSite] = []

    def start_node(self) -> HttpsSite:
        """Start the next node."""
        number = len(self.sites)
        key = self._directory / f"cluster-{number}.key"
        key.write_text(KEY + "\n")
        tls = (
            f'[tls.acme]\ndirectory = "{self.pebble.url}"\nca_file = "{self.pebble.ca_file}"\n'
            f'retry = "1s"\n{self._lines}\n'
            f'[state]\nurl = "{self.engine.url}"\nlocal_copy = "off"\npatience = "500ms"\n'
            f'[cluster]\nkey_file = "{key}"\nconfiguration = false\nhealth_hints = false'
        )
        directory = self._directory / f"node-{number}"
        self.sites.append(HttpsSite(directory, tls, hosts=self._hosts, ports=self.ports[number], workers=2))
        return self.sites[-1]

    def start_nodes(self) -> tuple[HttpsSite, HttpsSite]:
        """Start two; return them once both serve the same certificates."""
        sites = self.start_node(), self.start_node()
        self.wait_same()
        return sites

    def lead_authority_to(self, *nodes: int) -> None:
        """Have the authority's questions come to these nodes, by number."""
        self.plain.targets = [self.ports[node][0] for node in nodes]
        self.tls.targets = [self.ports[node][1] for node in nodes]

    @property
    def log(self) -> str:
        """What the nodes wrote."""
        return "\n".join(site.edgewise.log for site in self.sites)

    @property
    def issued(self) -> int:
        """How many certificates the authority made."""
        return self.pebble.log.count("Issued certificate serial")

    def wait_same(self, *, other_than: int = 0) -> None:
        """Wait until all nodes serve the same certificate for each host, trusted, not that of a serial number."""
        root = self.pebble.root()

        def same(name: str) -> bool:
            if any(not site.certificates()[name]["not_after"] for site in self.sites):
                return False
            served = {site.served(name).serial_number for site in self.sites for _ in range(4)}
            return len(served) == 1 and served != {other_than}

        for name in self._hosts:
            wait_until(lambda name=name: same(name), f"the nodes serve one for {name}:\n{self.log[-3000:]}", TAKE_OVER)  # type: ignore[misc]
            for site in self.sites:
                assert site.ask(name, root).body == b"secure"

    def is_led(self) -> bool:
        """Does a node talk to the authority?"""
        name = f"certificates/{Sealer(KEY.encode(), PURPOSE).group}/order"

        async def held() -> bool:
            engine = await self.engine.make()
            try:
                lease = await engine.acquire(name, "test", 1.0)
                if lease is not None:
                    await engine.release(lease)
                return lease is None
            finally:
                await engine.close()

        return asyncio.run(held())

    def values(self) -> dict[str, bytes]:
        """Return what the engine keeps of certificates."""

        async def read() -> dict[str, bytes]:
            engine = await self.engine.make()
            try:
                return {entry.key: entry.value for entry in await engine.entries("certificates/")}
            finally:
                await engine.close()

        return asyncio.run(read())

    def stop(self) -> None:
        """Stop everything."""
        try:
            for site in self.sites:
                if site.edgewise.alive():
                    site.stop()
        finally:
            self.pebble.stop()
            self.engine.kill()
            self.plain.close()
            self.tls.close()


Start = Callable[..., Cluster]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Cluster] = []

    def make(server: type[NatsServer | ValkeyServer], **options: Any) -> Cluster:
        running.append(Cluster(tmp_path, server, **options))
        return running[-1]

    yield make
    for cluster in running:
        cluster.stop()


@pytest.mark.parametrize(("server", "challenge"), [(NatsServer, "http-01"), (ValkeyServer, "tls-alpn-01")])
def test_one_node_orders_and_the_other_answers_the_authority(start: Start, server: Any, challenge: str) -> None:
    cluster = start(server, lines=f'challenges = ["{challenge}"]', hosts=(NAME, OTHER))
    first, second = cluster.start_nodes()
    assert cluster.issued == 2, "one a host, not one a node"
    accounts = [{path.read_bytes() for path in (site.state / "accounts").glob("*.pem")} for site in (first, second)]
    asked = cluster.plain if challenge == "http-01" else cluster.tls
    for orders, answers in ((0, 1), (1, 0)):
        cluster.lead_authority_to(answers)
        old, before = first.served(), dict(asked.counts)
        cluster.sites[orders].command("renew", NAME)
        cluster.wait_same(other_than=old.serial_number)
        index = 0 if challenge == "http-01" else 1
        other, own = cluster.ports[answers][index], cluster.ports[orders][index]
        assert asked.counts[other] > before[other]
        assert asked.counts[own] == before[own]
        assert f"{NAME}: certificate issued" in cluster.sites[orders].edgewise.log
    assert cluster.issued == 4
    shared = [{path.read_bytes() for path in (site.state / "accounts").glob("*.pem")} for site in (first, second)]
    assert shared[0] == shared[1], "they have one account"
    assert shared[0] in accounts, "which one of them had before"


def test_a_node_with_an_empty_directory_takes_the_certificates_and_orders_none(start: Start) -> None:
    cluster = start(NatsServer, hosts=(NAME, OTHER))
    first = cluster.start_node()
    cluster.wait_same()
    served = [first.served(name) for name in (NAME, OTHER)]
    second = cluster.start_node()
    cluster.wait_same()
    assert [second.served(name) for name in (NAME, OTHER)] == served
    assert cluster.issued == 2
    assert "certificate issued" not in second.edgewise.log


def test_the_work_of_a_leader_that_is_killed_is_taken_over(start: Start) -> None:
    cluster = start(NatsServer)
    first, second = cluster.start_nodes()
    old = first.served()
    cluster.pebble.signal(signal.SIGSTOP)
    first.command("renew", NAME)
    wait_until(cluster.is_led, "the first node orders")
    second.command("renew", NAME)
    first.kill()
    cluster.pebble.signal(signal.SIGCONT)
    wait_until(lambda: second.served() != old, f"the other node renews:\n{second.edgewise.log[-3000:]}", TAKE_OVER)
    assert f"{NAME}: certificate issued" in second.edgewise.log
    first.start(cluster.ports[0])
    cluster.wait_same(other_than=old.serial_number)
    assert f"{NAME}: certificate issued" not in first.edgewise.log, "what it had begun is done"


def test_a_leader_that_was_paused_takes_what_its_successor_got_and_overwrites_nothing(start: Start) -> None:
    cluster = start(NatsServer)
    first, second = cluster.start_nodes()
    old, control = first.served(), first.control_pid()
    cluster.pebble.signal(signal.SIGSTOP)
    first.command("renew", NAME)
    wait_until(cluster.is_led, "the first node orders")
    os.kill(control, signal.SIGSTOP)
    cluster.lead_authority_to(1)
    cluster.pebble.signal(signal.SIGCONT)
    second.command("renew", NAME)
    try:
        wait_until(lambda: second.served() != old, f"the other node renews:\n{second.edgewise.log[-3000:]}", TAKE_OVER)
    finally:
        os.kill(control, signal.SIGCONT)
    new = second.served()
    cluster.wait_same(other_than=old.serial_number)
    assert first.served() == new
    assert cluster.issued == 2


def test_without_the_engine_certificates_are_served_and_orders_wait(start: Start) -> None:
    cluster = start(NatsServer)
    first, second = cluster.start_nodes()
    old = first.served()
    cluster.engine.kill()
    second.command("renew", NAME)
    wait_until(lambda: "shared state" in (second.certificates()[NAME]["last_error"] or ""), "the reason is shown")
    assert (first.served(), second.served()) == (old, old)
    first.kill()
    first.start(cluster.ports[0])
    assert first.ask(NAME, cluster.pebble.root()).status == 200, "a node starts with what it has on disk"
    assert first.served() == old
    assert cluster.issued == 1
    cluster.engine.start()
    cluster.wait_same(other_than=old.serial_number)
    wait_until(lambda: not second.certificates()[NAME]["last_error"], "the trouble is over")
    assert second.certificates()[NAME]["failures"] == 0


def test_nodes_renew_for_each_other_and_revoke_what_was_before(start: Start) -> None:
    cluster = start(NatsServer)
    for site in cluster.start_nodes():
        old = site.served()
        site.command("renew", NAME, "--revoke")
        cluster.wait_same(other_than=old.serial_number)
        wait_until(
            lambda old=old: cluster.pebble.status(old.serial_number)["Status"] == "Revoked",  # type: ignore[misc]
            "the certificate before is revoked",
        )


def test_the_engine_learns_no_key_and_what_it_forgot_is_not_ordered_again(start: Start, tmp_path: Path) -> None:
    cluster = start(ValkeyServer)
    first, second = cluster.start_nodes()
    kept = cluster.values()
    assert sum("/certificate/" in key for key in kept) == 1
    assert not [key for key, value in kept.items() if b"PRIVATE" in value or NAME.encode() in value]
    old = first.served()
    for site in (first, second):
        site.kill()
    cluster.engine.kill()
    for path in (tmp_path / "engine" / "appendonlydir").glob("*"):
        path.unlink()
    cluster.engine.start()
    assert not [key for key in cluster.values() if "/certificate/" in key]
    for site, ports in zip((first, second), cluster.ports, strict=True):
        site.start(ports)
    wait_until(lambda: [key for key in cluster.values() if "/certificate/" in key], "they share it again", TAKE_OVER)
    cluster.wait_same()
    assert first.served() == old
    assert cluster.issued == 1


def test_one_node_shares_with_itself_by_the_embedded_engine(tmp_path: Path) -> None:
    ports = (free_port(), free_port(), free_port())
    pebble = Pebble(tmp_path / "pebble", ports[0], ports[1])
    tls = (
        f'[tls.acme]\ndirectory = "{pebble.url}"\nca_file = "{pebble.ca_file}"\nretry = "1s"\n'
        f'[state]\nurl = "sqlite:{tmp_path}/kept"\n'
        f'[cluster]\nkey = "{KEY}"\nconfiguration = false\nhealth_hints = false'
    )
    site = HttpsSite(tmp_path / "node", tls, ports=ports)
    try:
        site.wait_issued()
        assert site.ask(NAME, pebble.root()).status == 200
    finally:
        site.stop()
        pebble.stop()
