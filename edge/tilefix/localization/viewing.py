"""Frames made ready for matching under all that is known of heading and height."""

from __future__ import annotations

from tilefix.camera import CameraModel, Mount
from tilefix.localization.gates import FrozenGate
from tilefix.localization.ground import Place
from tilefix.localization.heading import Heading, turn_between
from tilefix.localization.look import Look, Looker
from tilefix.localization.settings import LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.types import Frame, Reason, VehicleState


class Viewing:
    """Looks at frames under the errors that matches found: the heading is `turn_deg` larger than stated, the height
    `scale` times what is stated. Where no heading is stated, `heading` stands for it: the turn is of that one.

    `supposed`: a heading that may be any is taken for known until that proves wrong.
    """

    def __init__(self, package: MapPackage, camera: CameraModel, mount: Mount, settings: LocalizerSettings) -> None:
        self._settings = settings
        self._camera = camera
        self._looker = Looker(package, camera, mount, settings)
        self._frozen = FrozenGate()
        self.heading = Heading()
        self.turn_deg, self.scale = 0.0, 1.0
        self.supposed = False

    @property
    def heading_deg(self) -> float:
        """The heading with its error taken out, 0 to 360."""
        return (self.heading.deg + self.turn_deg) % 360.0

    @property
    def carried_sigma_deg(self) -> float:
        """Standard deviation of a heading that nobody states; 0 of one that is stated."""
        return self.heading.sigma_deg if self.heading.carried else 0.0

    @property
    def blind_heading(self) -> bool:
        """True while the heading may be any and none is supposed: then it is not known whither the vehicle moves."""
        return self.heading.unknown and not self.supposed

    def look(
        self, frame: Frame, state: VehicleState, before: Look | None, seconds: float, place: Place | None
    ) -> tuple[Look | Reason, VehicleState]:
        """The frame made ready, or why it cannot be; and the state with the heading that it was looked at under.

        To be called for every frame: it is compared with the one before, `before` of them being the view of that
        frame, where it was usable, `seconds` ago.
        """
        state = self._told(state)
        seen = self._looker.look(frame, state, self.turn_deg, self.scale, place)
        focal_px = self._camera.fx * frame.image.shape[1] / self._camera.width
        frozen = self._frozen.refusal(frame.image, state, focal_px)
        if frozen is not None and not isinstance(seen, Reason):
            return frozen, state
        if not self.heading.carried:
            return seen, state
        if isinstance(seen, Reason) or before is None:
            self.heading.turned(None, seconds)
            return seen, state
        reach_m = self._settings.max_speed_mps * seconds + 4.0 * seen.attitude_sigma_m
        turn_deg = turn_between(before, seen, self.heading.expected_deg(seconds), reach_m)
        self.heading.turned(turn_deg, seconds)
        if turn_deg is None:
            return seen, state
        state = self.heading.told(state, stated=False)
        return self._looker.look(frame, state, self.turn_deg, self.scale, place), state

    def _told(self, state: VehicleState) -> VehicleState:
        """The state with a heading. What was found of one that was carried on holds for the one stated now."""
        found_deg = None if not self.heading.carried or self.heading.unknown else self.heading_deg
        state = self.heading.told(state)
        if found_deg is not None and not self.heading.carried:
            self.turn_deg = wrapped_deg(found_deg - self.heading.deg)
        return state

    def assume(self, turn_deg: float, scale: float) -> None:
        """Looks under these errors from here on."""
        self.turn_deg, self.scale = wrapped_deg(turn_deg), scale

    def follow(self, turn_deg: float, scale: float) -> None:
        """Takes in how the errors seem to have changed, within bounds."""
        self.turn_deg = wrapped_deg(self.turn_deg + turn_deg)
        bound = 1.0 + 2.0 * self._settings.height_error
        self.scale = max(1.0 / bound, min(bound, self.scale * scale))

    def give_up(self) -> tuple[float, float]:
        """(turn_deg, scale) to look under since those assumed do not help: none, but a heading that was known before
        is given up only by and by."""
        self.supposed = False
        if not self.heading.carried:
            return 0.0, 1.0
        self.heading.doubt()
        return (0.0 if self.heading.unknown else self.turn_deg), 1.0

    def matched(self, turn_sigma_deg: float) -> None:
        """A match was taken in."""
        self.heading.matched(turn_sigma_deg)


def wrapped_deg(angle_deg: float) -> float:
    """The same direction within -180 to 180 degrees."""
    return (angle_deg + 180.0) % 360.0 - 180.0
