"""A flight whose recording a fault edits while it is read: of any flight folder, recorded or generated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tilefix.flights.flight import Flight, FlightRow
from tilefix.simulation.faultlogs import edit_log
from tilefix.simulation.faultpictures import PictureEdit
from tilefix.simulation.faults import Fault, Window
from tilefix.types import Frame


@dataclass(frozen=True)
class FaultyFlight(Flight):
    """A flight with a fault in it. `arrives_s`: when each row arrives in truth, whatever its own time says."""

    original: Flight
    fault: Fault | None
    window: Window
    seed: int
    arrives_s: tuple[float, ...]

    def frames(self, limit: int | None = None) -> Iterator[tuple[FlightRow, Frame]]:
        """Each row that arrives, with its picture as it arrives."""
        read = replace(self.original, rows=self.rows).frames(limit)
        edit = PictureEdit(self.fault, self.seed, self.window)
        for (row, frame), at_s in zip(read, self.arrives_s, strict=False):
            yield row, replace(frame, image=edit(frame.image, frame.sequence, at_s))


def faulty(flight: Flight, fault: Fault | None, window: Window, seed: int) -> FaultyFlight:
    """The flight with that fault in its recording (none for a fault that edits the ground, the map or the hint)."""
    timed = edit_log(fault, flight.rows, window)
    return FaultyFlight(
        flight.folder,
        flight.camera,
        flight.mount,
        tuple(row for _, row in timed),
        flight.video,
        flight.pictures,
        flight,
        fault,
        window,
        seed,
        tuple(at_s for at_s, _ in timed),
    )
