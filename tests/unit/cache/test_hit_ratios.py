"""Hit ratios of SIEVE beside LRU: on made-up requests here, on real traces by tools/hit_ratios.py."""

from __future__ import annotations

import importlib.util
import lzma
import random
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "hit_ratios.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hit_ratios", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requests(seed: int) -> list[tuple[str, int]]:
    """Return requests for popular objects, most of all others asked for once only, as at the edge of a network."""
    choice = random.Random(seed)
    names = range(5000)
    weights = [1 / (rank + 1) for rank in names]
    popular = choice.choices(names, weights, k=30_000)
    sizes = {name: choice.randrange(200, 20_000) for name in names}
    trace = []
    for number, name in enumerate(popular):
        trace.append((f"p{name}", sizes[name]))
        if number % 2:
            trace.append((f"once{number}", choice.randrange(200, 20_000)))
    return trace


@pytest.mark.parametrize("second_hit", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.1])
@pytest.mark.parametrize("seed", [1, 2])
def test_sieve_hits_more_often_than_lru_where_popular_objects_meet_those_of_one_request(
    tool: ModuleType, seed: int, share: float, second_hit: bool
) -> None:
    trace = requests(seed)
    bound = int(tool.footprint(trace) * share)
    assert tool.sieve(trace, bound, second_hit=second_hit) > tool.lru(trace, bound) + 0.02


def test_the_tool_reads_both_formats_and_prints_a_table(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sized = tmp_path / "sized.txt"
    sized.write_text("".join(f"{number} {key} {size}\n" for number, (key, size) in enumerate(requests(3))))
    plain = tmp_path / "plain.txt.xz"
    with lzma.open(plain, "wt") as out:
        out.writelines(f"{key}\n" for key, _ in requests(4))
    assert tool.main([str(sized), str(plain)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("sized.txt") == printed.count("plain.txt.xz") == 2
