"""The control process: admin address, health checks."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgewise.server.generation import Generation, Shared


@dataclass(frozen=True)
class ControlSetup:
    """What the control process inherits from the supervisor."""

    generation: Generation
    shared: Shared
    admin_socket: socket.socket | None
