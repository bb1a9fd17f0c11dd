"""A clock that a test moves by hand."""

from __future__ import annotations


class ManualClock:
    """`tilefix.ports.Clock` that stands still until `advance_s` is called."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance_s(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)
