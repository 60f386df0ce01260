"""Secrets that tokens are verified with are as long as their hash (RFC 7518 section 3.2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.config import ConfigError, load

TOML = """
[jwt.a]
issuer = "a"
audience = "a"
secret_file = "secret"
algorithms = ["HS256", "HS512"]
[upstreams.app]
servers = ["127.0.0.1:9001"]
"""


def test_a_secret_that_is_too_short_is_told(tmp_path: Path) -> None:
    path = tmp_path / "edgewise.toml"
    path.write_text(TOML)
    (tmp_path / "secret").write_bytes(b"x" * 63 + b"\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert "jwt.a.secret_file: 63 bytes are too few for HS512; expected 64 or more" in str(caught.value)
    (tmp_path / "secret").write_bytes(b"x" * 64 + b"\n")
    assert load(path, {}).jwt["a"].secret_file == str(tmp_path / "secret")
