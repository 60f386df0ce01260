"""A route's compression, from the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.contracts.compression import Compression

if TYPE_CHECKING:
    from edgewise.config.compress import Compress


def compression(spec: Compress) -> Compression:
    """Return which answers are compressed, and how."""
    levels = spec.levels.model_dump()
    return Compression(
        codings=tuple(coding.encode() for coding in spec.codings),
        levels={coding.encode(): levels[coding] for coding in spec.codings},
        types=tuple(kind.encode() for kind in spec.types),
        min_size=spec.min_size,
        anonymous=spec.anonymous_only,
    )
