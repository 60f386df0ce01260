"""One log of the configuration over its changes: the one in force, the coming one, and those of earlier generations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from edgewise.contracts.observer import Observer

Spec = TypeVar("Spec")


class Log(Observer, Protocol):
    """An observer that writes lines to a file."""

    @property
    def dropped(self) -> int:
        """Lines lost so far."""

    def reopen(self) -> None:
        """Open the file anew, after rotation. Raises OSError."""


class LogChoice(Generic[Spec]):
    """A change is prepared, then committed or aborted."""

    def __init__(self, make: Callable[[Spec], Log | None]) -> None:
        """`make` opens the log of a specification, None where it wants none; it raises OSError."""
        self._make = make
        self._spec: Spec | None = None
        self._next: tuple[Spec, Log | None] | None = None
        self._replaced: list[Log] = []
        """Exchanges that began with these still write to them."""
        self.log: Log | None = None
        """The one in force."""

    def prepare(self, spec: Spec, path: str) -> None:
        """Open the coming log, if it is another one. Raises OSError."""
        self.abort()
        if spec != self._spec:
            try:
                self._next = (spec, self._make(spec))
            except OSError as error:
                raise OSError(error.errno, f"cannot open {path}: {error.strerror}") from error

    def abort(self) -> None:
        """Forget what was prepared."""
        if self._next is not None and self._next[1] is not None:
            self._next[1].close()
        self._next = None

    def commit(self) -> None:
        """Put in force what was prepared."""
        if self._next is not None:
            if self.log is not None:
                self._replaced.append(self.log)
            (self._spec, self.log), self._next = self._next, None

    @property
    def logs(self) -> list[Log]:
        """Those that are open."""
        return [*self._replaced, self.log] if self.log is not None else self._replaced
