"""What nodes have in common of a configuration, and what each keeps from its own file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.config import ConfigError
from edgewise.config.cluster import Cluster
from edgewise.config.common import OWN, common_part, is_own, left_out, published, with_common
from edgewise.config.document import Document, read_toml
from edgewise.config.loader import load
from edgewise.config.shape import at

KEY = "0123456789abcdef0123456789abcdef"
FILE = f"""
[server]
listen = ["127.0.0.1:81"]
head_bytes = 2048
[state]
url = "redis://127.0.0.1:1/0"
[cluster]
key = "{KEY}"
[upstreams.own]
servers = ["127.0.0.1:1"]
"""


def loaded(tmp_path: Path, common: Document | None, environ: dict[str, str] | None = None) -> Any:
    path = tmp_path / "edgewise.toml"
    path.write_text(FILE)
    return load(path, environ or {}, choose=lambda settings: common)


@pytest.mark.parametrize("path", OWN, ids=".".join)
def test_what_is_a_nodes_own_is_a_key_of_the_schema(path: tuple[str, ...]) -> None:
    assert at(path)


def test_what_is_published_takes_the_place_of_all_that_is_common(tmp_path: Path) -> None:
    common = published(
        {"server": {"listen": ["0.0.0.0:80"], "header_timeout": "3s"}, "upstreams": {"new": {"servers": ["[::1]:1"]}}},
        "configuration version 7",
    )
    config = loaded(tmp_path, common)
    assert config.server.listen == ["127.0.0.1:81"], "the node's own"
    assert config.server.header_timeout == 3.0
    assert config.server.head_bytes == 16384, "not published, so the default"
    assert list(config.upstreams) == ["new"]
    assert config.cluster == Cluster(key=KEY)


def test_without_anything_published_the_file_is_all_there_is(tmp_path: Path) -> None:
    assert list(loaded(tmp_path, None).upstreams) == ["own"]


def test_the_environment_of_a_node_has_the_last_word(tmp_path: Path) -> None:
    common = published({"server": {"header_timeout": "3s"}}, "configuration version 7")
    config = loaded(tmp_path, common, {"EDGEWISE_SERVER__HEADER_TIMEOUT": "4s", "EDGEWISE_SERVER__WORKERS": "3"})
    assert (config.server.header_timeout, config.server.workers) == (4.0, 3)


def test_a_mistake_is_shown_where_it_was_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, published({"routes": [{"upstream": "shop"}]}, "configuration version 7"))
    assert str(caught.value).startswith('configuration version 7: routes[0].upstream: there is no upstream "shop"')
    document = read_toml('\n[[routes]]\nupstream = "shop"\n', "new.toml")
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, document)
    assert str(caught.value).startswith("new.toml:3: routes[0].upstream")


def test_relative_file_names_count_from_the_nodes_own_directory(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    config = loaded(tmp_path, published({"routes": [{"static": {"root": "public"}}]}, "version 7"))
    assert config.routes[0].static.root == str(tmp_path / "public")


def test_a_cluster_table_that_cannot_be_used_chooses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "edgewise.toml"
    path.write_text('[cluster]\nkey = "short"\n')
    with pytest.raises(ConfigError, match="too short"):
        load(path, {}, choose=lambda settings: pytest.fail("was asked"))


DOCUMENTS = st.dictionaries(
    st.sampled_from(["server", "tls", "tcp", "state", "cluster", "access_log", "routes", "upstreams"]),
    st.one_of(
        st.dictionaries(st.sampled_from(["listen", "workers", "directory", "head_bytes", "internal"]), st.integers()),
        st.integers(),
    ),
)


@given(DOCUMENTS, DOCUMENTS)
def test_nothing_of_a_nodes_own_is_published_and_nothing_published_overrides_it(
    own: dict[str, Any], common: dict[str, Any]
) -> None:
    node = Document("own")
    node.data = own
    data = with_common(node, published(common, "version 7")).data
    assert left_out(common_part(common)) == []
    for path in OWN:
        mine, found = own, data
        for step in path:
            mine = mine.get(step, {}) if isinstance(mine, dict) else {}
            found = found.get(step, {}) if isinstance(found, dict) else {}
        if isinstance(own.get(path[0]), dict) and isinstance(data.get(path[0]), dict):
            assert found == mine
    again = common_part(data)
    assert common_part(again) == again
    assert not any(is_own((key,)) for key in again)
