"""Configuration above (tests/golden/explain/*.toml), explain below (*.txt): what a request would meet, word for word.

UPDATE_GOLDEN=1 writes the texts anew; read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgewise.config import load
from edgewise.router.explain import explain

GOLDEN = Path(__file__).parents[2] / "golden" / "explain"
REQUESTS: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "split": ("GET", "http://shop.example.com/api/items?id=7", []),
    "rewrite": (
        "GET",
        "https://www.example.com/users/42/posts",
        [
            ("X-Debug", "1"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("Connection", "keep-alive, X-Mine"),
            ("X-Mine", "hop by hop"),
        ],
    ),
    "upload": ("POST", "http://shop.example.com/api/items", [("Content-Length", "12"), ("Expect", "100-continue")]),
    "method": ("DELETE", "http://shop.example.com/api/items", []),
    "redirect": ("GET", "http://other.example.com/old/shoes?size=42", []),
    "websocket": ("GET", "http://www.example.com/users/7/posts", [("Connection", "Upgrade"), ("Upgrade", "websocket")]),
    "grpc": (
        "POST",
        "http://grpc.example.com/shop.v1.Cart/Get",
        [("Content-Type", "application/grpc-web+proto"), ("grpc-timeout", "5S"), ("x_meta", "1")],
    ),
    "session": ("POST", "http://shop.example.com/account/orders", [("X-User", "root"), ("Content-Length", "2")]),
    "session_none": ("GET", "http://shop.example.com/", [("X-User", "root")]),
    "session_optional": ("GET", "http://shop.example.com/login", []),
    "session_token": ("POST", "http://shop.example.com/orders/", [("Content-Length", "2")]),
    "policies": ("GET", "https://api.example.com/orders/1", []),
    "policies_of_no_host": ("GET", "https://other.example/items", [("X-User", "root"), ("x_groups", "admins")]),
    "policies_preflight": (
        "OPTIONS",
        "https://api.example.com/orders/1",
        [("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "PUT")],
    ),
    "nothing": ("GET", "http://other.example.com/new", []),
    "refused": ("GET", "http://shop.example.com/api/%2e%2e%2fadmin", []),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_explain_says_what_it_said(name: str) -> None:
    method, url, headers = REQUESTS[name]
    kind = name.partition("_")[0]
    config = GOLDEN / ({"session": "sessions.toml", "policies": "policies.toml"}.get(kind, "shop.toml"))
    text = explain(load(config, environ={}), method, url, headers) + "\n"
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    assert "must-see" not in text
