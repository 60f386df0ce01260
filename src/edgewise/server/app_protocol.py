"""What an app's process tells the supervisor over the socket pair they share."""

READY = b"R"
"""The app serves."""
FAILED = b"E"
"""It never will; the reason follows, in UTF-8."""
