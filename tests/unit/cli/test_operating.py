from __future__ import annotations

from pathlib import Path

import click
import pytest

from edgewise.admin.client import AdminClient, AdminError
from edgewise.cli.operating import DEFAULT_ADMIN, admin_address, problem_line


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEWISE_SERVER__ADMIN", raising=False)


def test_the_option_comes_before_the_file() -> None:
    assert admin_address("127.0.0.1:1", Path("missing.toml")) == "127.0.0.1:1"


def test_the_files_address_is_used_even_though_the_file_has_mistakes(tmp_path: Path) -> None:
    (tmp_path / "edgewise.toml").write_text('[server]\nadmin = "127.0.0.1:2"\nno_such_key = 1\n')
    assert admin_address(None, None) == "127.0.0.1:2"


def test_the_environment_comes_before_the_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edgewise.toml").write_text('[server]\nadmin = "127.0.0.1:2"\n')
    monkeypatch.setenv("EDGEWISE_SERVER__ADMIN", "127.0.0.1:3")
    assert admin_address(None, None) == "127.0.0.1:3"


def test_without_file_or_key_the_default_address_is_used(tmp_path: Path) -> None:
    assert admin_address(None, None) == DEFAULT_ADMIN
    (tmp_path / "edgewise.toml").write_text("")
    assert admin_address(None, None) == DEFAULT_ADMIN


@pytest.mark.parametrize(
    ("text", "expected"),
    [('[server]\nadmin = "off"\n', "turns the admin address off"), ("[server\n", "--admin ADDR does without the file")],
)
def test_a_file_that_names_no_address_says_what_to_do(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "edgewise.toml").write_text(text)
    with pytest.raises(click.ClickException, match=expected):
        admin_address(None, None)


def test_a_named_file_that_is_missing_is_an_error() -> None:
    with pytest.raises(click.ClickException, match=r"no such file: missing\.toml"):
        admin_address(None, Path("missing.toml"))


def test_a_problem_of_the_admin_api_reads_as_check_shows_it() -> None:
    problem = {"message": "unknown key", "file": "a.toml", "line": 3, "key": "x.y", "expected": "", "nearest": "z"}
    assert problem_line(problem) == 'a.toml:3: x.y: unknown key; did you mean "z"?'
    assert problem_line({"message": "not ready", "file": "", "line": None}) == "not ready"


@pytest.mark.parametrize("address", ["nonsense", "host:port", "host:²"])
def test_what_is_no_admin_address_is_refused(address: str) -> None:
    with pytest.raises(AdminError, match="is not an address"):
        AdminClient(address).get("/")


def test_a_unix_socket_that_does_not_exist_means_that_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(AdminError, match="is it running"):
        AdminClient(f"unix:{tmp_path}/none.sock").get("/")
