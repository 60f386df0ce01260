from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgewise.config import Config, build
from edgewise.server.secret import SecretError, load_secret, state_directory, with_secrets


def sticky(**tables: object) -> Config:
    upstreams = {name: {"servers": ["127.0.0.1:9001"], "sticky": table} for name, table in tables.items()}
    return build({"upstreams": upstreams, "routes": [{"respond": {}}]})


def secrets_of(config: Config) -> dict[str, str | None]:
    return {name: spec.sticky.secret if spec.sticky else None for name, spec in config.upstreams.items()}


def test_the_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    first = load_secret(directory)
    assert len(first) == 32
    assert load_secret(directory) == first
    assert stat.S_IMODE((directory / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [path.name for path in directory.iterdir()] == ["secret"]


def test_sticky_upstreams_get_secrets_of_their_own_that_survive_a_restart(tmp_path: Path) -> None:
    first = secrets_of(with_secrets(sticky(a={}, b={}), tmp_path))
    assert first["a"] != first["b"]
    assert None not in first.values()
    assert secrets_of(with_secrets(sticky(a={}, b={}), tmp_path)) == first


def test_a_configured_secret_is_kept(tmp_path: Path) -> None:
    config = sticky(a={"secret": "0123456789abcdef"})
    assert with_secrets(config, tmp_path / "state") is config
    assert not (tmp_path / "state").exists()


def test_a_secret_that_cannot_be_kept_is_an_error_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretError, match=r"cannot keep the sticky secret in .*: Not a directory"):
        load_secret(tmp_path / "file" / "state")


def test_a_secret_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(SecretError, match="too short"):
        load_secret(tmp_path)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/edge:/x", "XDG_STATE_HOME": "/s", "HOME": "/h"}, "/var/lib/edge"),
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/edgewise"),
        ({"HOME": "/h"}, "/h/.local/state/edgewise"),
    ],
)
def test_state_is_kept_where_the_service_manager_says_else_in_the_users_home(
    environ: dict[str, str], expected: str
) -> None:
    assert state_directory(environ) == Path(expected)
