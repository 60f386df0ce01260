from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.config import Config, build
from edgewise.server.apps import app_specs, socket_path
from edgewise.server.generation import first_generation
from edgewise.server.instance import Instance
from edgewise.server.run_directory import RunDirectoryError


def config(**upstream: object) -> Config:
    return build({"server": {"workers": 1}, "upstreams": {"shop": {"app": "shop:app", **upstream}}})


def test_only_upstreams_with_an_app_are_managed() -> None:
    specs = app_specs(
        build(
            {"upstreams": {"a": {"app": "m:a", "processes": 3}, "b": {"servers": [":1"]}}, "routes": [{"respond": {}}]}
        )
    )
    assert {name: (spec.target, spec.processes) for name, spec in specs.items()} == {"a": ("m:a", 3)}


def test_a_process_serves_the_same_code_while_module_and_interface_stay() -> None:
    one, more = (app_specs(config(processes=count))["shop"] for count in (1, 4))
    assert one.same_code(more)
    assert not one.same_code(app_specs(config(app_interface="wsgi"))["shop"])


def test_socket_names_are_short_whatever_the_upstream_is_called(tmp_path: Path) -> None:
    assert socket_path(Path("/run"), "shop", 2) == Path("/run/shop.2.sock")
    assert len(socket_path(Path("/run"), "x" * 200, 0).name) < 30
    assert "/" not in socket_path(Path("/run"), "a/../b", 0).name


def test_a_managed_app_becomes_an_upstream_with_one_checked_server_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    instance = Instance(lambda choose: config(processes=2), "test")
    loaded = instance.load().upstreams["shop"]
    instance.close()
    names = [Path(server.address.removeprefix("unix:")).name for server in loaded.servers]
    assert names == ["shop.0.sock", "shop.1.sock"]
    assert loaded.health is not None
    assert loaded.health.type == "tcp"


def test_a_run_directory_whose_path_is_too_long_for_sockets_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 90)))
    instance = Instance(lambda choose: config(), "test")
    with pytest.raises(RunDirectoryError, match="too long for a Unix socket"):
        instance.load()
    instance.close()


def test_a_generation_counts_up_and_keeps_the_slots_of_what_stays() -> None:
    first, shared = first_generation(
        build({"server": {"workers": 1}, "upstreams": {"a": {"servers": ["127.0.0.1:1", "127.0.0.1:2"]}}})
    )
    second = first.next(
        build({"server": {"workers": 1}, "upstreams": {"a": {"servers": ["127.0.0.1:2", "127.0.0.1:3"]}}})
    )
    assert (first.number, second.number) == (1, 2)
    assert second.endpoints["a/127.0.0.1:2"] == first.endpoints["a/127.0.0.1:2"]
    assert set(second.endpoints.present) == {"a/127.0.0.1:2", "a/127.0.0.1:3"}
    shared.memory.endpoints.cells(0, second.endpoints["a/127.0.0.1:3"])[4] = 9
    shared.clear_fresh(second)
    assert shared.memory.endpoints.read(second.endpoints["a/127.0.0.1:3"]).requests == 0


def test_a_generation_reaches_a_child_as_it_was() -> None:
    generation, _ = first_generation(config())
    assert type(generation).load(generation.dump()) == generation
