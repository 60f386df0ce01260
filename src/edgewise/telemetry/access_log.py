"""The access log: a tuple an exchange while requests run, lines rendered and written in bulk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from edgewise.http.masking import USUAL, Masking
from edgewise.telemetry.log_format import Entry, combined_renderer, json_renderer
from edgewise.telemetry.log_sink import LogSink

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

_BATCH = 512
"""Exchanges that wait at most before lines are written without waiting for the tick."""


class AccessLog:
    """A `contracts.observer.Observer` that writes a line an exchange to `path` ("stdout" or a file).

    Raises OSError where the file cannot be opened. Later trouble (a full disk, a closed pipe) never reaches a request:
    lines that cannot be written are counted in `dropped`.
    """

    __slots__ = ("_entries", "_render", "_sink")

    def __init__(self, path: str, format: Literal["json", "combined"] = "json", masking: Masking = USUAL) -> None:
        self._sink = LogSink(path)
        self._render = json_renderer(masking) if format == "json" else combined_renderer(masking)
        self._entries: list[Entry] = []

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        return self._sink.dropped

    def done(self, exchange: Exchange) -> None:
        """Note a finished exchange."""
        plan = exchange.plan
        client = exchange.client
        entries = self._entries
        entries.append(
            (  # type: ignore[arg-type]  # a plain tuple of Entry's shape: a third of the cost
                plan,
                client.peer_ip if plan.forwarded_for is None else client.client_ip(),
                exchange.started,
                exchange.connected,
                exchange.dispatched,
                exchange.first_byte,
                exchange.ended,
                exchange.response_bytes,
                exchange.request_id,
                exchange.context,
                exchange.identity,
                (
                    exchange.status,
                    exchange.request_bytes,
                    exchange.attempts,
                    exchange.group,
                    exchange.endpoint,
                    exchange.end,
                    exchange.failure,
                    None if exchange.grpc is None else exchange.grpc.status,
                    exchange.cached,
                ),
            )
        )
        if len(entries) >= _BATCH:
            self._write()

    def tick(self, now: float) -> None:
        """Write what waits."""
        if self._entries:
            self._write()
        else:
            self._sink.flush()

    def reopen(self) -> None:
        """Open the file anew after log rotation; keeps the old one and raises OSError where that fails."""
        self.tick(0.0)
        self._sink.reopen()

    def close(self) -> None:
        """Write what waits and close the file."""
        self.tick(0.0)
        self._sink.close()

    def _write(self) -> None:
        entries, self._entries = self._entries, []
        self._sink.write(self._render(entries, time.time() - time.monotonic()))
