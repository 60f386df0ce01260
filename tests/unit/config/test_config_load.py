"""Loading: file, environment and overrides in one, all problems at once."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgewise.config import Config, ConfigError, Problem, build, load, parse

SHOP = '[upstreams.shop]\nservers = ["127.0.0.1:9001"]\n'


def problems(environ: dict[str, str], overrides: dict[str, Any] | None = None, path: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ, overrides or {})
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edgewise.toml"
    path.write_text(SHOP + '[[routes]]\npath = "/a"\nupstream = "shop"\n')
    return path


def test_without_file_environment_and_overrides_all_defaults_hold() -> None:
    assert load(None, {}) == Config()


def test_without_routes_one_upstream_answers_every_request() -> None:
    (route,) = parse(SHOP).routes
    assert (route.path, route.upstream, route.hosts, route.methods) == ("/*", "shop", [], [])


def test_an_upstream_of_layer_4_gets_no_route_by_default() -> None:
    assert parse(SHOP + '[[tcp]]\nlisten = ":5432"\nupstream = "shop"\n').routes == []


def test_the_environment_wins_over_the_file_and_overrides_over_both(file: Path) -> None:
    environ = {
        "EDGEWISE_ROUTES__0__PATH": "/b",
        "EDGEWISE_UPSTREAMS__SHOP__BALANCE": "ewma",
        "EDGEWISE_SERVER__WORKERS": "3",
    }
    config = load(file, environ, {"server.workers": 4, "upstreams": {"shop": {"max_idle": 1}}})
    assert config.routes[0].paths == ["/b"]
    assert config.upstreams["shop"].balance == "ewma"
    assert config.upstreams["shop"].max_idle == 1
    assert config.upstreams["shop"].servers[0].address == "127.0.0.1:9001"
    assert config.server.workers == 4


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("SERVER__LISTEN", ":80, [::]:80", [":80", "[::]:80"]),
        ("SERVER__LISTEN", '[":80"]', [":80"]),
        ("SERVER__LISTEN", "[::]:80", ["[::]:80"]),
        ("SERVER__TLS_LISTEN", "", []),
        ("SERVER__WORKERS", "3", 3),
        ("SERVER__ACCEPT_PROXY_PROTOCOL", "true", True),
        ("SERVER__DRAIN_TIMEOUT", "5", 5.0),
        ("SERVER__DRAIN_TIMEOUT", "250ms", 0.25),
        ("SERVER__HEAD_BYTES", "32KiB", 32768),
        ("SERVER__ADMIN", "off", None),
        ("ACCESS_LOG__PATH", "stdout", "stdout"),
    ],
)
def test_a_variable_is_read_as_the_type_of_its_key(variable: str, text: str, value: object) -> None:
    found: Any = load(None, {f"EDGEWISE_{variable}": text})
    for key in variable.lower().split("__"):
        found = getattr(found, key)
    assert found == value


def test_variables_can_make_upstreams_routes_and_items_of_lists() -> None:
    config = load(
        None,
        {
            "EDGEWISE_UPSTREAMS__SHOP__SERVERS": "a:1,b:2",
            "EDGEWISE_UPSTREAMS__SHOP__HEALTH": '{ path = "/h" }',
            "EDGEWISE_UPSTREAMS__SHOP__RETRY__ON": "connect,502",
            "EDGEWISE_UPSTREAMS__SHOP__EJECT": "false",
            "EDGEWISE_ROUTES__0__HOST": "a.example.com,b.example.com",
            "EDGEWISE_ROUTES__0__UPSTREAM": "shop",
        },
    )
    assert [server.address for server in config.upstreams["shop"].servers] == ["a:1", "b:2"]
    assert config.upstreams["shop"].health is not None
    assert config.upstreams["shop"].health.type == "http"
    assert config.upstreams["shop"].retry.on == ["connect", 502]
    assert config.upstreams["shop"].eject is False
    assert config.routes[0].hosts == ["a.example.com", "b.example.com"]


def test_names_of_upstreams_in_variables_are_found_case_aside(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text('[upstreams.MyShop]\nservers = [":1"]\n')
    assert load(path, {"EDGEWISE_UPSTREAMS__MYSHOP__MAX_IDLE": "0"}).upstreams["MyShop"].max_idle == 0


def test_variables_without_a_level_are_not_configuration() -> None:
    assert load(None, {"EDGEWISE_CONFIG": "x", "EDGEWISE_DEBUG": "1", "PATH": "/bin", "OTHER__KEY": "1"}) == Config()


def test_a_bad_variable_is_named_in_its_problem() -> None:
    assert problems({"EDGEWISE_SERVER__LISTN": ":80", "EDGEWISE_SERVER__WORKERS": "4_0"}) == [
        'environment variable EDGEWISE_SERVER__LISTN: server.listn: unknown key; did you mean "listen"?',
        'environment variable EDGEWISE_SERVER__WORKERS: server.workers: found "4_0"; expected a whole number',
    ]


def test_a_variable_that_fits_nowhere_is_a_problem(file: Path) -> None:
    assert problems({"EDGEWISE_ROUTES__5__PATH": "/", "EDGEWISE_SERVER__WORKERS__X": "1"}, path=file) == [
        "environment variable EDGEWISE_ROUTES__5__PATH: routes[5].path: cannot be set, since routes is a list;"
        " expected an index from 0 to 1",
        "environment variable EDGEWISE_SERVER__WORKERS__X: server.workers.x: server.workers has no keys",
    ]


def test_a_bad_override_is_blamed_on_the_command_line() -> None:
    assert problems({}, {"server.admin": "nowhere"}) == [
        'command line: server.admin: "nowhere" has no valid port; expected "host:port", "[IPv6]:port", ":port" or'
        ' "unix:/path"; did you mean "nowhere:80"?'
    ]


def test_an_override_hides_a_mistake_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text('[server]\nlisten = ["bad"]\n')
    assert load(path, {}, {"server.listen": [":80"]}).server.listen == [":80"]


def test_problems_of_the_file_come_in_the_order_of_lines_with_all_kinds_mixed() -> None:
    text = '[server]\nlisten = ["x"]\n[[routes]]\nupstream = "shop"\npath = "a"\n[upstreams.shoe]\nbalnce = 1\n'
    with pytest.raises(ConfigError) as caught:
        parse(text, "my.toml")
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [
        (2, "server.listen[0]"),
        (4, "routes[0].upstream"),
        (5, "routes[0].path"),
        (6, "upstreams.shoe"),
        (7, "upstreams.shoe.balnce"),
    ]


def test_a_problem_is_one_line() -> None:
    problem = Problem("edgewise.toml", 14, "upstreams.shop.balnce", "unknown key", nearest="balance")
    assert str(problem) == 'edgewise.toml:14: upstreams.shop.balnce: unknown key; did you mean "balance"?'


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert problems({}, path=missing) == [f"{missing}: cannot be read: no such file or directory"]
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"[server]\n# \xff\n")
    assert problems({}, path=binary) == [f"{binary}:2: not valid TOML: not UTF-8"]


def test_relative_file_names_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.pem").touch()
    path = tmp_path / "edgewise.toml"
    path.write_text('tls.certificates = [{ cert = "c.pem", key = "c.pem" }]\naccess_log.path = "access.log"\n')
    config = load(path, {})
    assert config.tls.certificates[0].cert == str(tmp_path / "c.pem")
    assert config.access_log.path == str(tmp_path / "access.log")
    assert load(None, {"EDGEWISE_ACCESS_LOG__PATH": "a.log"}).access_log.path == "a.log"


def test_plain_tables_are_checked_like_a_file() -> None:
    assert build({"upstreams": {"shop": {"servers": ["127.0.0.1:9001"]}}}) == parse(SHOP)
    with pytest.raises(ConfigError, match=r'routes\[0\].upstream: there is no upstream "a"'):
        build({"routes": [{"upstream": "a"}]})


def test_equal_texts_give_equal_configurations_that_survive_pickling() -> None:
    assert parse(SHOP) == parse(SHOP)
    assert pickle.loads(pickle.dumps(parse(SHOP))) == parse(SHOP)


def test_a_configuration_cannot_be_changed_and_does_not_show_its_secrets() -> None:
    config = parse(SHOP + 'sticky.secret = "0123456789abcdef"\n')
    with pytest.raises(ValueError, match="frozen"):
        config.server.workers = 9
    assert "0123456789abcdef" not in repr(config)


def test_the_schema_is_imported_on_first_use_only() -> None:
    code = (
        "import sys, edgewise.config, edgewise.config.addresses, edgewise.config.patterns, edgewise.config.values\n"
        "assert 'pydantic' not in sys.modules\n"
        "edgewise.config.parse('')\n"
        "assert 'pydantic' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
