"""How long the phases of an epoch take."""

from __future__ import annotations

import time


class Stopwatch:
    """Seconds of each phase by name: passed, and of the process's own work on all its threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._last, self._last_cpu = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        """Ends the phase `name`; the next one begins."""
        now, cpu = time.perf_counter(), time.process_time()
        self.seconds[name] = round(now - self._last, 3)
        self.cpu_seconds[name] = round(cpu - self._last_cpu, 3)
        self._last, self._last_cpu = now, cpu
