"""What the configuration accepts, the router can compile."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from edgewise.config.patterns import check_host, check_path, check_redirect, check_rewrite, path_parameters
from edgewise.config.problems import BadValue
from edgewise.router.patterns import HostPattern, PathPattern
from edgewise.router.templates import compile_redirect, compile_rewrite

PIECES = [
    "/", "a", "{id}", "{rest*}", "{path}", "{query}", "{host}", "{scheme}", "*", ".", "..", "%2f", "%41", "?", "#", "{",
    "}", " ", ":", "http", "https://", "é", "b=1",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES)).map("".join)


def accepted(check: Callable[[str], str], text: str) -> bool:
    try:
        check(text)
    except BadValue:
        return False
    return True


@given(TEXTS)
def test_the_router_compiles_every_template_that_the_configuration_accepts(text: str) -> None:
    if accepted(check_rewrite, text):
        compile_rewrite(text)
    if accepted(check_redirect, text):
        compile_redirect(text)


@given(TEXTS)
def test_the_router_compiles_every_pattern_that_the_configuration_accepts(text: str) -> None:
    if accepted(check_path, text):
        assert list(PathPattern(text).names) == path_parameters(text)
    if accepted(check_host, text):
        HostPattern(text)
