"""Which published version a node takes: the newest that it does not refuse, and never an older one than it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from edgewise.state.adoption import Adoption, Standing
from edgewise.state.versions import Version


def version(number: int, name: str = "") -> Version:
    return Version(number, f"{number}-{name}", 0.0, "ann@a")


def follow(adoption: Adoption, published: list[Version], bad: set[str]) -> None:
    """Do as a node does: try what is wanted until nothing is."""
    while (wanted := adoption.wanted(published)) is not None:
        if wanted.id in bad:
            adoption.refused(wanted, "it does not build")
        else:
            adoption.took(wanted)


def test_a_node_that_starts_later_takes_the_newest_version_at_once() -> None:
    adoption = Adoption()
    assert adoption.standing() == Standing(0, 0, "applied")
    assert adoption.wanted([version(1), version(2)]) == version(2)
    assert adoption.standing() == Standing(0, 2, "pending")
    adoption.took(version(2))
    assert adoption.standing() == Standing(2, 2, "applied")


def test_a_refused_version_is_not_tried_again_until_the_node_is_reloaded() -> None:
    adoption = Adoption(version(1))
    published = [version(1), version(2)]
    follow(adoption, published, {"2-"})
    assert adoption.standing() == Standing(1, 2, "refused", "it does not build")
    assert adoption.wanted(published) is None
    adoption.reloaded(version(1))
    assert adoption.wanted(published) == version(2)


def test_a_node_that_refuses_the_newest_takes_the_one_before_if_that_is_newer_than_its_own() -> None:
    adoption = Adoption(version(5))
    follow(adoption, [version(5), version(6), version(7)], {"7-"})
    assert adoption.standing() == Standing(6, 7, "refused", "it does not build")


def test_an_engine_that_lost_versions_or_got_old_ones_back_changes_nothing() -> None:
    adoption = Adoption(version(7))
    assert adoption.wanted([version(1), version(2)]) is None
    assert adoption.odd() == "the newest version published is 2, but version 7 runs here"
    assert adoption.wanted([]) is None
    assert adoption.odd() == ""
    assert adoption.wanted([version(7, "other")]) is None
    assert "another version 7" in adoption.odd()
    assert adoption.standing().applied == 7


def test_what_a_node_waits_for_is_told_while_it_does() -> None:
    adoption = Adoption()
    adoption.wanted([version(1)])
    adoption.waits("edgewise starts or stops")
    assert adoption.standing() == Standing(0, 1, "pending", "edgewise starts or stops")


@dataclass
class _World:
    """Nodes, what is published, and what each node cannot use."""

    published: list[Version] = field(default_factory=list)
    nodes: list[Adoption] = field(default_factory=lambda: [Adoption() for _ in range(3)])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sets(st.integers(0, 2))),
        st.tuples(st.just("look"), st.integers(0, 2)),
        st.tuples(st.just("restart"), st.integers(0, 2)),
        st.tuples(st.just("reload"), st.integers(0, 2)),
    ),
    max_size=30,
)


@given(STEPS)
def test_whatever_happens_numbers_never_go_back_and_in_the_end_each_node_runs_the_newest_it_can(
    steps: list[tuple[str, object]],
) -> None:
    world, bad = _World(), [set[str](), set[str](), set[str]()]
    for kind, value in steps:
        if kind == "publish":
            assert isinstance(value, set)
            world.published.append(version(len(world.published) + 1))
            for refusing in value:
                bad[refusing].add(world.published[-1].id)
            continue
        assert isinstance(value, int)
        node = world.nodes[value]
        before = node.standing().applied
        running = version(before) if before else None
        if kind == "look":
            follow(node, world.published, bad[value])
        elif kind == "restart":
            world.nodes[value] = Adoption(running)
        else:
            node.reloaded(running)
        assert world.nodes[value].standing().applied >= before
    for index, node in enumerate(world.nodes):
        follow(node, world.published, bad[index])
        best = max((one.number for one in world.published if one.id not in bad[index]), default=0)
        standing = node.standing()
        assert standing.applied == best
        assert standing.newest == len(world.published)
        assert standing.outcome == ("applied" if best == len(world.published) else "refused")
