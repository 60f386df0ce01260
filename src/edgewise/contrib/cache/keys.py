"""From a function's name and arguments to a key: the same in every process, of one length, told apart by type."""

from __future__ import annotations

import datetime
import decimal
import enum
import inspect
import uuid
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from msgspec.msgpack import encode

_SIMPLE = frozenset({type(None), bool, int, float, str, bytes})
_AS_TEXT = (decimal.Decimal, uuid.UUID, datetime.date, datetime.time, datetime.timedelta)
_DIGEST = 20
"""Bytes: that two of 2**64 keys agree has a chance of one in 2**33."""


def digest(*parts: object) -> str:
    """Return 40 hexadecimal digits that stand for values. Raises TypeError for what has no form that lasts."""
    for part in parts:
        if type(part) not in _SIMPLE:
            parts = tuple(_tagged(part) for part in parts)
            break
    try:
        packed = encode(parts)
    except OverflowError:
        packed = encode([_tagged(part) for part in parts])
    return blake2b(packed, digest_size=_DIGEST).hexdigest()


def _tagged(value: object) -> object:
    """Return a value in plain data, with the name of its type where plain data would not tell."""
    kind = type(value)
    if kind in _SIMPLE:
        return ["int", str(value)] if kind is int and not -(2**63) <= value < 2**64 else value  # type: ignore[operator]
    if isinstance(value, list | tuple):
        return [kind.__name__, [_tagged(each) for each in value]]
    if isinstance(value, set | frozenset):
        return [kind.__name__, sorted(encode(_tagged(each)) for each in value)]
    if isinstance(value, Mapping):
        pairs = [(encode(_tagged(name)), _tagged(each)) for name, each in value.items()]
        return [kind.__name__, sorted(pairs, key=lambda pair: pair[0])]
    if isinstance(value, enum.Enum):
        return [f"{kind.__module__}.{kind.__qualname__}", value.name]
    if isinstance(value, _AS_TEXT):
        return [kind.__name__, str(value)]
    raise TypeError(f"{kind.__name__} cannot be part of a cache key: give `key`, a function of the arguments")


class FunctionKeys:
    """The keys of one function: of a call, with what it varies on, and of its arguments alone."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None,
        key: Callable[..., object] | None,
        vary_on: Callable[[], object] | Sequence[Callable[[], object]] | None,
    ) -> None:
        """Raises ValueError for a function whose name may be that of others too."""
        self.name = name or f"{function.__module__}.{function.__qualname__}"
        if name is None and "<" in self.name:
            raise ValueError(f"{self.name} is not the name of one function: give `name`")
        self._key = key
        self.vary_on = () if vary_on is None else (vary_on,) if callable(vary_on) else tuple(vary_on)
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters
        plain = all(each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for each in parameters.values())
        self._count = len(parameters) if plain else -1
        self._defaults = [(name, each.default) for name, each in parameters.items()]

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the key of a call."""
        varied = [each() for each in self.vary_on] if self.vary_on else ()
        if self._key is not None:
            return digest("key", self.name, self._key(*args, **kwargs), *varied)
        if kwargs or len(args) != self._count:
            return digest("call", self.name, *self._bound(args, kwargs), *varied)
        return digest("call", self.name, *args, *varied)

    def of_all_variants(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return what all variants of a call have in common."""
        if self._key is not None:
            return digest("variants", self.name, self._key(*args, **kwargs))
        return digest("variants", self.name, *self._bound(args, kwargs))

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Return all arguments in the order of the parameters: f(1) and f(a=1, b=default) are one call."""
        if len(args) <= self._count:  # what `bind` does below, at a fifth of its time
            given = len(args)
            rest = [kwargs.get(name, default) for name, default in self._defaults[given:]]
            named = sum(name in kwargs for name, _default in self._defaults[given:])
            if named == len(kwargs) and not any(each is inspect.Parameter.empty for each in rest):
                return (*args, *rest)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return tuple(bound.arguments.values())
