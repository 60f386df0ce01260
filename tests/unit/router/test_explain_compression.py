"""Explain says how the answer would be compressed, and what goes out before it."""

from __future__ import annotations

import pytest

from edgewise.config import build
from edgewise.router.explain import explain


@pytest.mark.parametrize(("accepted", "said"), [("br;q=0.5, gzip", "gzip"), ("identity", "not for this client")])
def test_the_coding_is_shown(accepted: str, said: str) -> None:
    route = {"upstream": "app", "compress": True, "early_hints": ["</a.css>; rel=preload"]}
    config = build({"upstreams": {"app": {"servers": ["127.0.0.1:9001"]}}, "routes": [route]})
    text = explain(config, "GET", "http://example.com/", [("Accept-Encoding", accepted)])
    assert f"compress  {said}, where the answer's type and size are for it" in text
    assert "hint      103 before a server is asked: Link: </a.css>; rel=preload" in text
