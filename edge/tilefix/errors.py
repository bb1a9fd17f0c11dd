"""The errors tilefix raises on purpose.

    TilefixError                  every one of them; the command line prints it and exits with status 2
    ├── ConfigError               a configuration value: names the file, the line and the mend
    ├── MapError                  a map package, or the imagery that it is built from
    ├── ModelError                a model file, its manifest, or a map built with another model
    │   └── EngineError           an engine that does not belong to this machine, or a GPU that failed
    ├── FlightError               a flight folder, a flight log or a video
    ├── MissionError              a ground station's waypoint file: names the line
    ├── CameraError               a camera that cannot be opened (one that vanishes is retried, not raised)
    ├── LinkError                 an autopilot link that cannot be opened
    └── UpdateError               a version that cannot be installed, switched or taken back

In flight nothing is raised for doubt: a frame without a position is a `NoFix` with its `Reason`.
"""

from __future__ import annotations


class TilefixError(Exception):
    """Something a person can mend: says what is wrong, where, and the mend, in one text. `exit_status`: of a command
    that ends with it."""

    exit_status = 2

    def __init__(self, what: str, *, where: object = None, mend: str | None = None) -> None:
        self.what = what
        self.where = where
        self.mend = mend
        text = what if where is None else f"{where}: {what}"
        super().__init__(text if mend is None else f"{text} ({mend})")


class ConfigError(TilefixError):
    """A configuration file or value is wrong."""


class MapError(TilefixError):
    """A map package, or imagery for one, cannot be used."""


class ModelError(TilefixError):
    """A model, its manifest, or the pairing of model and map is wrong."""


class EngineError(ModelError):
    """An inference engine cannot be built or used on this machine, or its GPU failed during a call."""


class FlightError(TilefixError):
    """A flight folder, log or video cannot be used."""


class MissionError(TilefixError):
    """A ground station's waypoint file is wrong, or cannot be laid on a map."""


class CameraError(TilefixError):
    """A camera cannot be opened."""


class LinkError(TilefixError):
    """An autopilot link cannot be opened."""


class UpdateError(TilefixError):
    """A version, map or model cannot be installed, switched or taken back."""
