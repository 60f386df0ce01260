"""What is wrong with a message, on the wire or in JSON."""

from __future__ import annotations


class MalformedMessage(ValueError):
    """The bytes are no message of this type."""


class InvalidValue(ValueError):
    """A JSON value is none of this type; `path` leads to it within the message."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path = ""
        self.reason = reason

    def within(self, step: str) -> None:
        """Note that the value stands in the field, or at the index, `step`."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        self.path = step + joint + self.path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason
