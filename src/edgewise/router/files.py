"""A route's files, from the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.static.files import StaticFiles
from edgewise.static.settings import StaticSettings, glob

if TYPE_CHECKING:
    from edgewise.config.static import Static


def static_files(spec: Static) -> StaticFiles:
    """Return what finds the files that `spec` describes."""
    settings = StaticSettings(
        root=spec.root,
        index=tuple(name.encode() for name in spec.index),
        listing=spec.listing,
        fallback=(spec.fallback or "").encode(),
        not_found=(spec.not_found or "").encode(),
        hidden=spec.hidden,
        codings=tuple(coding.encode() for coding in spec.precompressed),
        cache_control=spec.cache_control.encode("latin-1"),
        fingerprints=spec.fingerprints,
        immutable=tuple(map(glob, spec.immutable)),
        types={end.lstrip(".").lower().encode(): kind.encode("latin-1") for end, kind in spec.types.items()},
        charset=spec.charset.encode("latin-1"),
        memory=spec.memory,
    )
    return StaticFiles(settings)
