"""What ties air pressure to sea level, kept over a restart of the service: without GNSS it could not be found anew.

The file lies in the service's runtime folder, which lives in memory and goes with the board's power (systemd:
RuntimeDirectory=, RuntimeDirectoryPreserve=restart). The monotonic clock counts on over a restart, so that the anchor's
age, and with it what the weather may have done since, stays known.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict
from pathlib import Path

from tilefix.links.height import Anchor

_logger = logging.getLogger(__name__)
_NAME = "height.json"
_EVERY_NS = 10_000_000_000
_MOST_BYTES = 4096
# Weather moves an older one by more than it says.
_MAX_AGE_NS = 6 * 3600 * 1_000_000_000


class HeightMemory:
    """Keeps an anchor in a folder, at most every ten seconds; where it cannot be written, the log says so."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._kept_ns: int | None = None

    def keep(self, anchor: Anchor) -> None:
        """Notes it, when the last note is old enough."""
        if self._kept_ns is not None and anchor.at_ns - self._kept_ns < _EVERY_NS:
            return
        self._kept_ns = anchor.at_ns
        partial = self._path.with_name(_NAME + ".partial")
        try:
            partial.write_text(json.dumps(asdict(anchor)))
            partial.replace(self._path)
        except OSError as error:
            _logger.warning("%s: cannot be written: %s", self._path, error.strerror)

    def last(self, now_ns: int) -> Anchor | None:
        """What was kept by the process before; `None` when there is nothing, nothing sound or nothing young."""
        try:
            with self._path.open("rb") as file:
                raw = json.loads(file.read(_MOST_BYTES))
            anchor = Anchor(int(raw["at_ns"]), float(raw["shift_m"]), float(raw["sigma_m"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        sound = math.isfinite(anchor.shift_m) and math.isfinite(anchor.sigma_m) and anchor.sigma_m >= 0.0
        return anchor if sound and 0 <= now_ns - anchor.at_ns <= _MAX_AGE_NS else None
