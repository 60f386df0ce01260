from __future__ import annotations

import pytest

from edgewise.cli.status_text import duration, status_text, table

STATUS = {
    "version": "1.0",
    "generation": 3,
    "ready": True,
    "uptime": 65.0,
    "workers": [
        {"index": 0, "pid": 100, "uptime": 65.0, "connections": 2, "requests": 1000},
        {"index": 1, "pid": 0, "uptime": 0.0, "connections": 0, "requests": 7},
    ],
    "routes": [{"name": "shop", "target": "app", "requests": 1007}],
}
SERVER = {
    "name": "127.0.0.1:9001",
    "state": "unhealthy",
    "reason": "connection refused",
    "backup": True,
    "active": 1,
    "waiting": 0,
    "requests": 1007,
    "failures": 3,
}


def test_the_status_reads_as_tables() -> None:
    text = status_text(STATUS, [{"name": "app", "balance": "ewma", "servers": [SERVER]}])
    assert text.splitlines()[:1] == ["edgewise 1.0, generation 3, ready, up 1m 5s"]
    assert [line.split() for line in text.split("\n\n")[1].splitlines()] == [
        ["WORKER", "PID", "UP", "CONNECTIONS", "REQUESTS"],
        ["0", "100", "1m", "5s", "2", "1000"],
        ["1", "-", "0s", "0", "7"],
    ]
    assert text.splitlines()[-3:] == [
        "upstream app (ewma)",
        "SERVER                   STATE      ACTIVE  WAITING  REQUESTS  FAILURES",
        "127.0.0.1:9001 (backup)  unhealthy       1        0      1007         3  connection refused",
    ]


def test_sessions_that_left_their_server_are_told_by_reason() -> None:
    servers = [{**SERVER, "moved": {"drained": 2}}, {**SERVER, "moved": {"drained": 1, "gone": 4}}]
    text = status_text(STATUS, [{"name": "app", "balance": "ewma", "servers": servers}])
    assert text.endswith("\nsessions moved: 3 drained, 4 gone")


def test_an_upstream_without_servers_says_so() -> None:
    text = status_text({**STATUS, "workers": [], "routes": []}, [{"name": "app", "balance": "ewma", "servers": []}])
    assert text.endswith("upstream app (ewma)\n(no servers)")


def test_text_stands_to_the_left_and_numbers_to_the_right() -> None:
    assert table(("NAME", "COUNT"), [("a", 5), ("bbbbb", 1000)]) == "NAME   COUNT\na          5\nbbbbb   1000"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0s"), (59.9, "59s"), (60, "1m 0s"), (3725, "1h 2m"), (90000, "1d 1h"), (86400 * 40, "40d 0h")],
)
def test_durations_show_their_two_largest_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
