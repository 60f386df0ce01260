"""For all tests: generated examples are judged by what comes out, not by how long that took on a busy machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("edgewise", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edgewise")
