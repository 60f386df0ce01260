"""Which cookies make a request one of somebody's own, so that all other visitors share an object."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgewise.http.head import Field

ANALYTICS = (
    b"_ga", b"_ga_*", b"_gid", b"_gat", b"_gat_*", b"_gac_*", b"_gcl_*", b"__utm*", b"__gads", b"__gpi",  # Google
    b"_fbp", b"_fbc",  # Meta
    b"_hj*",  # Hotjar
    b"_pk_*", b"_paq_*",  # Matomo, Piwik Pro
    b"__hstc", b"__hssc", b"__hssrc", b"hubspotutk",  # HubSpot
    b"_clck", b"_clsk", b"_uetsid", b"_uetvid",  # Microsoft
    b"mp_*_mixpanel", b"ajs_anonymous_id", b"ajs_user_id", b"amp_*", b"AMP_*", b"ph_*_posthog",
    b"_ym_*", b"_ttp", b"_tt_*", b"_scid", b"_pin_unauth", b"_vwo_*", b"__cf_bm", b"__cfruid",
)  # fmt: skip
"""Cookies that scripts in the page set for themselves; `*` stands for anything."""
DJANGO = (b"sessionid", b"csrftoken")
"""Cookies that Django's pages depend on. A form's token belongs to the visitor's csrftoken."""
FLASK = (b"session",)
"""The cookie that Flask's pages depend on."""


def name_pattern(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """Return a pattern of these names, in which `*` stands for anything; use `fullmatch`."""
    return re.compile(rb"|".join(re.escape(name).replace(rb"\*", rb".*") for name in names) or rb"(?!)", re.DOTALL)


class Counting:
    """Tells which cookies of a request count: those named, or with None all but the ignored."""

    __slots__ = ("_ignored", "_named")

    def __init__(self, named: tuple[bytes, ...] | None, ignored: tuple[bytes, ...] = ANALYTICS) -> None:
        self._named = None if named is None else name_pattern(named)
        self._ignored = name_pattern(ignored)

    def of(self, lines: Iterable[Field]) -> bytes:
        """Return the cookies that count, sorted, as one Cookie value; b"" for a visitor who is nobody."""
        found = {pair for pair in pairs(lines) if self._counts(pair.partition(b"=")[0])}
        return b"; ".join(sorted(found))

    def _counts(self, name: bytes) -> bool:
        if self._named is not None:
            return self._named.fullmatch(name) is not None
        return self._ignored.fullmatch(name) is None


def pairs(lines: Iterable[Field]) -> list[bytes]:
    """Return `name=value` of each cookie of a request (RFC 6265 section 5.4)."""
    values = [value for name, value, _ in lines if name == b"cookie"]
    found = [pair.strip(b" \t") for value in values for pair in value.split(b";")]
    return [pair for pair in found if pair]
