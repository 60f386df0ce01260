"""The table of fields that have browsers take more care."""

from __future__ import annotations

from edgewise.config.types import FieldValue, Model


class SecurityHeaders(Model):
    """Fields that have browsers take more care, in answers that do not have one of that name; "off" for none.

    Strict-Transport-Security is `tls.hsts`.
    """

    content_type_options: FieldValue = "nosniff"
    """X-Content-Type-Options: take no content for another type."""
    frame_options: FieldValue = "SAMEORIGIN"
    """X-Frame-Options: show pages in frames of the same origin only."""
    referrer_policy: FieldValue = "strict-origin-when-cross-origin"
    """Referrer-Policy: tell other sites the origin that a link stood in, and no more."""
    opener_policy: FieldValue = "same-origin-allow-popups"
    """Cross-Origin-Opener-Policy: give pages of other origins that open this one no hold on it; windows that it opens
    itself, as for a login or a payment, keep theirs."""
    resource_policy: FieldValue = "same-site"
    """Cross-Origin-Resource-Policy: let other sites embed nothing; with `cors` in force there is none."""
    permissions_policy: FieldValue = "camera=(), geolocation=(), microphone=()"
    """Permissions-Policy: what pages and their frames may not ask the user for."""
    content_security_policy: FieldValue = "off"
    """Content-Security-Policy: there is none that is right for every page."""
