"""What a peer's conduct costs: one score a connection for all that is legal once and an attack a thousand times.

A frame that makes work and brings nothing adds to the score, useful work and time take from it, so neither a busy
honest peer nor a quiet one with its keep-alive pings comes near the limit. Counted are Rapid Reset (CVE-2023-44487) and
resets that we were made to send (MadeYouReset, CVE-2025-8671); SETTINGS, PING, PRIORITY and WINDOW_UPDATE floods
(CVE-2019-9511 to 9518); empty frames.
"""

from __future__ import annotations

from edgewise.protocols.http2_frames import ENHANCE_YOUR_CALM, ConnectionFault

GLITCH = 16
"""A request that was begun in vain, or a reset we were made to send."""
OVERSIZED = 16 * GLITCH
"""A head over the limits: a few kilobytes that refer to the dynamic table take milliseconds to decode."""
DOUBTFUL = 4
"""Seldom needed: SETTINGS, an empty frame, a tiny window update, a reset after the answer began."""
SMALL_CHANGE = 1
"""Needed now and then: PING, PRIORITY, WINDOW_UPDATE, frames of unknown types or on closed streams."""
STREAM_DONE = GLITCH
"""Taken off the score for a stream that came to its end on both sides."""
CONTENT_SENT = 2 * DOUBTFUL
"""Taken off for a DATA frame of ours, which a careful peer may answer with an update of both its windows."""


class Glitches:
    """The score of one connection."""

    __slots__ = ("_limit", "score")

    def __init__(self, glitches: int) -> None:
        self._limit = glitches * GLITCH
        self.score = 0

    def add(self, cost: int) -> None:
        """Count something; raises ConnectionFault ENHANCE_YOUR_CALM above the limit."""
        self.score += cost
        if self.score > self._limit:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many frames that bring nothing")

    def make_up(self, worth: int) -> None:
        """Useful work was done."""
        self.score = max(0, self.score - worth)

    def forgive(self) -> None:
        """Time has passed: half of it is forgotten."""
        self.score >>= 1
