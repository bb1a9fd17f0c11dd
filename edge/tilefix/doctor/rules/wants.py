"""What a parameter may be: small values that tell whether one is right, and what to set it to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tilefix.links.parametercoding import same


class Want(Protocol):
    """A demand on one value."""

    def holds(self, value: float) -> bool:
        """True when the value is right."""
        ...

    def mended(self, value: float) -> float | None:
        """What to set in place of a wrong value; `None` when a person has to decide."""
        ...


@dataclass(frozen=True)
class Is:
    """One value."""

    value: float

    def holds(self, value: float) -> bool:
        return same(value, self.value)

    def mended(self, value: float) -> float | None:  # noqa: ARG002
        return self.value


@dataclass(frozen=True)
class OneOf:
    """Any of some values; the first is what a wrong one is mended to."""

    values: tuple[float, ...]

    def holds(self, value: float) -> bool:
        return any(same(value, one) for one in self.values)

    def mended(self, value: float) -> float | None:  # noqa: ARG002
        return self.values[0]


@dataclass(frozen=True)
class NoneOf:
    """Anything but some values."""

    values: tuple[float, ...]
    instead: float | None = None

    def holds(self, value: float) -> bool:
        return not any(same(value, one) for one in self.values)

    def mended(self, value: float) -> float | None:  # noqa: ARG002
        return self.instead


@dataclass(frozen=True)
class Within:
    """From `low` to `high`, both included."""

    low: float
    high: float
    instead: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def mended(self, value: float) -> float | None:  # noqa: ARG002
        return self.instead


@dataclass(frozen=True)
class Bits:
    """Some bits set, some clear, the others as they are."""

    on: int = 0
    off: int = 0

    def holds(self, value: float) -> bool:
        return int(value) & self.on == self.on and not int(value) & self.off

    def mended(self, value: float) -> float | None:
        return float((int(value) | self.on) & ~self.off)
