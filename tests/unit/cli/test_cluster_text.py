"""What `edgewise cluster status` says of each node."""

from __future__ import annotations

import pytest

from edgewise.cli.clustering import cluster_text
from edgewise.cli.publishing import standing_text
from edgewise.contracts.state import EngineStatus
from edgewise.state.adoption import Standing
from edgewise.state.nodes import Node

OURS = "aaaa"


def node(standing: Standing | None, config: str = "c0ffee") -> Node:
    return Node("a-1", "a", 7, "0.1", 0.0, 3, config, standing)


@pytest.mark.parametrize(
    ("standing", "text"),
    [
        (None, "own file"),
        (Standing(0, 0, "applied", "", OURS), "own file, has not seen 8"),
        (Standing(8, 8, "applied", "", OURS), "version 8"),
        (Standing(7, 7, "applied", "", OURS), "version 7, has not seen 8"),
        (Standing(7, 8, "refused", "no directory", OURS), "version 7, refuses 8: no directory"),
        (Standing(0, 8, "pending", "", OURS), "own file, 8 pending"),
        (Standing(7, 8, "pending", "it is being loaded", OURS), "version 7, 8 pending: it is being loaded"),
        (Standing(9, 9, "applied", "only 8 is published", OURS), "version 9: only 8 is published"),
        (Standing(3, 3, "applied", "", "bbbb"), "version 3, has another key"),
    ],
)
def test_a_node_that_runs_lags_refuses_or_stands_apart_is_told_from_the_others(
    standing: Standing | None, text: str
) -> None:
    assert standing_text(node(standing), 8, OURS) == text


def test_the_status_names_what_is_published_and_how_far_each_node_is() -> None:
    nodes = [node(Standing(8, 8, "applied", "", OURS)), node(Standing(7, 8, "refused", "why", OURS), "0ther")]
    text = cluster_text("nats://h", EngineStatus("nats", "2.12", 5, 1000), nodes, 60.0, 8, OURS)
    assert text.splitlines()[-5:] == [
        "configuration published: version 8",
        "  a (7): version 8",
        "  a (7): version 7, refuses 8: why",
        "",
        "the nodes do not run the same configuration",
    ]


def test_where_no_node_follows_nothing_is_said_of_what_is_published() -> None:
    text = cluster_text("nats://h", EngineStatus("nats", "2.12", 5, 1000), [node(None)], 60.0)
    assert "published" not in text
