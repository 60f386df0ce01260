"""Builds the wheel: pure Python, or with the data plane compiled by mypyc where EDGEWISE_COMPILE=1 (docs/building.md).

The compiled modules are the same source; whoever runs the pure wheel loses speed and nothing else.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from setuptools import setup

COMPILED = [
    "http/head", "protocols/http1", "protocols/http1_fields", "protocols/http1_chunked", "protocols/http1_parting",
    "protocols/jose", "protocols/jws", "protocols/memo", "protocols/protobuf/messages", "protocols/protobuf/scalars",
    "protocols/protobuf/times",
    "protocols/protobuf/well_known", "protocols/protobuf/wire", "protocols/hpack", "protocols/hpack_huffman",
    "protocols/http2", "protocols/http2_abuse", "protocols/http2_events", "protocols/http2_frames",
    "protocols/http2_heads", "protocols/http2_messages", "protocols/http2_sending", "protocols/http2_streams",
    "protocols/tls_client_hello", "protocols/trace_context", "protocols/websocket", "contracts/coded_heads",
    "contracts/plan", "contracts/exchange", "contracts/endpoint", "proxy/arrival", "proxy/attempts", "proxy/caching",
    "proxy/compressing", "proxy/content", "proxy/downstream", "proxy/engine", "proxy/field_edits", "proxy/fills",
    "proxy/grpc", "proxy/http2_downstream", "proxy/http2_fields", "proxy/http2_upstream", "proxy/http2_wire",
    "proxy/lifecycle", "proxy/memo", "proxy/messages", "proxy/pieces", "proxy/plans", "proxy/poller", "proxy/pool",
    "proxy/readers", "proxy/relay", "proxy/response_prototypes", "proxy/transcoding", "proxy/tunnel", "proxy/upstream",
    "proxy/wire", "gateway/transcoding/answers", "gateway/transcoding/bindings", "gateway/transcoding/parameters",
    "balancer/least_connections", "balancer/round_robin", "cache/admission", "cache/answering", "cache/coding",
    "cache/cookies", "cache/fetching", "cache/key", "cache/memory", "cache/purges", "cache/request", "cache/reuse",
    "cache/route", "cache/sieve", "cache/stored", "cache/tiers", "cache/vary", "contracts/identity",
    "contracts/policies", "contracts/limits", "proxy/policies", "gateway/authentication", "gateway/api_keys",
    "gateway/bearer", "gateway/consumers", "gateway/cors", "gateway/identity", "gateway/jwt",
    "gateway/jwt_rules", "gateway/claims", "gateway/limit_fields",
    "gateway/limit_keys", "gateway/meters", "gateway/rate_limit", "router/policies/hosts", "router/https",
    "router/match", "router/patterns", "telemetry/access_log", "telemetry/log_format", "telemetry/metrics",
]  # fmt: skip

options: dict[str, Any] = {}
if os.environ.get("EDGEWISE_COMPILE") == "1":
    options["setup_requires"] = ["mypy[mypyc]>=1.16"]
    if "bdist_wheel" in sys.argv:  # else setuptools only asks for metadata
        from mypyc.build import mypycify

        modules = [f"src/edgewise/{module}.py" for module in COMPILED]
        # Measured no slower than level 3, which takes the C compiler twice as long.
        options["ext_modules"] = mypycify(["--config-file=pyproject.toml", *modules], opt_level="1", debug_level="0")

setup(**options)
