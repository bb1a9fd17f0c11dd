"""Which autopilot it is, and what differs between the versions of ArduPilot as far as positions from outside go. Pure.

Source: ArduPilot 4.5.5 and 4.7-dev, read and flown in their simulator; 4.6 lies between them and was read only.
"""

from __future__ import annotations

from dataclasses import dataclass

from tilefix.links.messages import Airframe, AutopilotKind

_RENAMED = (4, 6, 0)
# Last byte of a version in MAVLink: FIRMWARE_VERSION_TYPE_DEV and FIRMWARE_VERSION_TYPE_OFFICIAL.
_DEVELOPMENT, _OFFICIAL = 0, 255


@dataclass(frozen=True)
class Firmware:
    """`development`: of that version before its first beta."""

    kind: AutopilotKind = AutopilotKind.ARDUPILOT
    airframe: Airframe = Airframe.COPTER
    version: tuple[int, int, int] = (4, 6, 0)
    development: bool = False

    @property
    def packed_version(self) -> int:
        """The version as AUTOPILOT_VERSION tells it."""
        major, minor, patch = self.version
        return (major << 24) | (minor << 16) | (patch << 8) | (_DEVELOPMENT if self.development else _OFFICIAL)

    def receiver_type(self, index: int) -> str:
        """The parameter that says what receiver `index` (0-based) is."""
        if self.version >= _RENAMED:
            return f"GPS{index + 1}_TYPE"
        return "GPS_TYPE" if index == 0 else f"GPS_TYPE{index + 1}"

    def receiver_delay(self, index: int) -> str:
        """The parameter that says how late receiver `index` (0-based) is."""
        if self.version >= _RENAMED:
            return f"GPS{index + 1}_DELAY_MS"
        return "GPS_DELAY_MS" if index == 0 else f"GPS_DELAY_MS{index + 1}"

    @property
    def minds_receiver_number(self) -> bool:
        """True where a GPS_INPUT for another receiver is dropped; before, each fed receiver takes any."""
        return self.version >= _RENAMED

    @property
    def adds_variances(self) -> bool:
        """True where the error of an external position is the root of the sum of its variances; before 4.7's first
        beta it is the cube root of the sum of their squares."""
        return self.version >= (4, 7, 0) and not self.development

    @property
    def sets_origin_beside_receivers(self) -> bool:
        """True where an origin may be given while the sources in use name receivers; 4.5.5 refuses it then."""
        return self.version >= _RENAMED

    @property
    def weighs_vision_as_receiver(self) -> bool:
        """True where external navigation is weighed by the error that a receiver told last, if one ever did, and not by
        its own; as flown with 4.5.5."""
        return self.version < (4, 7, 0)

    @property
    def takes_global_int(self) -> bool:
        """True where MAV_CMD_EXTERNAL_POSITION_ESTIMATE may come in the frame MAV_FRAME_GLOBAL_INT as well."""
        return self.version >= _RENAMED

    @property
    def declares_vision_delay(self) -> bool:
        """True where VISO_DELAY_MS counts; before, 1 ms is taken whatever it says."""
        return self.version >= (4, 5, 2)
