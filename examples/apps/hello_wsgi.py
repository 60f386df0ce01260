"""A plain WSGI app.  edgewise app hello_wsgi:app --processes 2"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request with the process that took it."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"hello over WSGI from process {os.getpid()}\n".encode()]
