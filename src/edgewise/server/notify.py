"""Telling systemd about start, reload and stop (sd_notify(3)): only where NOTIFY_SOCKET is set."""

from __future__ import annotations

import contextlib
import os
import socket
import time


def notify(*assignments: str) -> None:
    """Send `assignments` ("READY=1", "STATUS=...") to the service manager, if there is one; errors are ignored.

    Runs in the supervisor: systemd by default takes messages from a service's main process only.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    target = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto("\n".join(assignments).encode(), target)


def reloading() -> None:
    """Announce a reload (systemd's Type=notify-reload wants the monotonic time with it)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
