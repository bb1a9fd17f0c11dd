"""The parameters of autopilots that a companion's position depends on, with their types and defaults by version.

ArduPilot's of 4.5.5 and 4.7-dev (commit 5e98daeb1a) were asked of their simulators; 4.6 has the receivers' new names
and the old ones for system ids. PX4's were read in its parameter files. The names are the point: one of another
version does not exist.
"""

from __future__ import annotations

from tilefix.links.messages import Airframe, AutopilotKind
from tilefix.links.parametercoding import ParameterType

Entry = tuple[ParameterType, float]
Version = tuple[int, int, int]
_INT8, _INT16, _INT32, _REAL = ParameterType.INT8, ParameterType.INT16, ParameterType.INT32, ParameterType.REAL32

# Effective only from the next start on; a name, or how a group's names begin.
AT_BOOT = (
    "VISO_TYPE",
    "EK3_ENABLE",
    "EK3_IMU_MASK",
    "SERIAL",
    "GPS_DELAY_MS",
    "GPS1_DELAY_MS",
    "GPS2_DELAY_MS",
    *(f"EKF2_AGP{slot}_ID" for slot in range(4)),
    "EKF2_AGP0_DELAY",
    "EKF2_AGP_DELAY",
    "EKF2_EV_DELAY",
    "EKF2_DELAY_MAX",
)
# While the parameter is zero, others of its group are left out of the list, though they are there when asked for.
HIDING = {"GPS1_": "GPS1_TYPE", "GPS2_": "GPS2_TYPE", "VISO_": "VISO_TYPE", "EK3_": "EK3_ENABLE"}
_SOURCES = {
    1: {"POSXY": 3, "VELXY": 3, "POSZ": 1, "VELZ": 3, "YAW": 1},
    2: {"POSXY": 0, "VELXY": 0, "POSZ": 1, "VELZ": 0, "YAW": 0},
    3: {"POSXY": 0, "VELXY": 0, "POSZ": 1, "VELZ": 0, "YAW": 0},
}
_SERIAL = {0: (2, 115), 1: (2, 57), 2: (2, 57), 3: (5, 230), 4: (5, 230), 5: (-1, 57), 6: (-1, 57), 7: (-1, 57)}

_ARDUPILOT: dict[str, Entry] = {
    "AHRS_EKF_TYPE": (_INT8, 3),
    "ARMING_CHECK": (_INT32, 1),
    "BRD_RTC_TYPES": (_INT8, 1),
    "COMPASS_ENABLE": (_INT8, 1),
    "EK2_ENABLE": (_INT8, 0),
    "EK3_ENABLE": (_INT8, 1),
    "EK3_AFFINITY": (_INT32, 0),
    "EK3_CHECK_SCALE": (_INT16, 100),
    "EK3_DRAG_BCOEF_X": (_REAL, 0.0),
    "EK3_DRAG_BCOEF_Y": (_REAL, 0.0),
    "EK3_DRAG_MCOEF": (_REAL, 0.0),
    "EK3_GLITCH_RAD": (_INT8, 25),
    "EK3_GPS_CHECK": (_INT8, 31),
    "EK3_IMU_MASK": (_INT8, 3),
    "EK3_POSNE_M_NSE": (_REAL, 0.5),
    "EK3_POS_I_GATE": (_INT16, 500),
    "EK3_PRIMARY": (_INT8, 0),
    **{
        f"EK3_SRC{number}_{axis}": (_INT8, value)
        for number, chosen in _SOURCES.items()
        for axis, value in chosen.items()
    },
    "EK3_SRC_OPTIONS": (_INT16, 1),
    "FS_EKF_THRESH": (_REAL, 0.8),
    "GPS_AUTO_SWITCH": (_INT8, 1),
    "GPS_PRIMARY": (_INT8, 0),
    **{f"SERIAL{number}_PROTOCOL": (_INT8, protocol) for number, (protocol, _) in _SERIAL.items()},
    **{f"SERIAL{number}_BAUD": (_INT32, baud) for number, (_, baud) in _SERIAL.items()},
    "VISO_TYPE": (_INT8, 0),
    "VISO_DELAY_MS": (_INT16, 10),
    "VISO_ORIENT": (_INT8, 0),
    "VISO_POS_M_NSE": (_REAL, 0.2),
    "VISO_POS_X": (_REAL, 0.0),
    "VISO_POS_Y": (_REAL, 0.0),
    "VISO_POS_Z": (_REAL, 0.0),
    "VISO_QUAL_MIN": (_INT8, 0),
    "VISO_SCALE": (_REAL, 1.0),
    "VISO_VEL_M_NSE": (_REAL, 0.1),
    "VISO_YAW_M_NSE": (_REAL, 0.2),
}
_COPTER: dict[str, Entry] = {
    "FS_DR_ENABLE": (_INT8, 2),
    "FS_DR_TIMEOUT": (_INT16, 30),
    "FS_EKF_ACTION": (_INT8, 1),
    "FS_GCS_ENABLE": (_INT8, 0),
    "SCHED_LOOP_RATE": (_INT16, 400),
}
_PLANE: dict[str, Entry] = {
    "ARSPD_TYPE": (_INT8, 0),
    "ARSPD_USE": (_INT8, 1),
    "EK3_CHECK_SCALE": (_INT16, 150),
    "FS_LONG_ACTN": (_INT8, 0),
    "SCHED_LOOP_RATE": (_INT16, 50),
}
_RECEIVERS_TO_4_5: dict[str, Entry] = {
    "GPS_TYPE": (_INT8, 1),
    "GPS_TYPE2": (_INT8, 0),
    "GPS_DELAY_MS": (_INT16, 0),
    "GPS_DELAY_MS2": (_INT16, 0),
}
_RECEIVERS_FROM_4_6: dict[str, Entry] = {
    "GPS1_TYPE": (_INT8, 1),
    "GPS1_DELAY_MS": (_INT16, 0),
    "GPS2_TYPE": (_INT8, 0),
    "GPS2_DELAY_MS": (_INT16, 0),
}
_EKF_FROM_4_6: dict[str, Entry] = {"EK3_OPTIONS": (_INT32, 0)}
_IDS_TO_4_6: dict[str, Entry] = {
    "SYSID_THISMAV": (_INT16, 1),
    "SYSID_MYGCS": (_INT16, 255),
    "SYSID_ENFORCE": (_INT8, 0),
}
_IDS_FROM_4_7: dict[str, Entry] = {
    "MAV_SYSID": (_INT16, 1),
    "MAV_GCS_SYSID": (_INT16, 255),
    "MAV_OPTIONS": (_INT16, 0),
}

_PX4: dict[str, Entry] = {
    "EKF2_DELAY_MAX": (_REAL, 200.0),
    "EKF2_EN": (_INT32, 1),
    "EKF2_EV_CTRL": (_INT32, 0),
    "EKF2_EV_DELAY": (_REAL, 0.0),
    "EKF2_EV_NOISE_MD": (_INT32, 0),
    "EKF2_EV_QMIN": (_INT32, 0),
    "EKF2_EVP_GATE": (_REAL, 5.0),
    "EKF2_EVP_NOISE": (_REAL, 0.1),
    "EKF2_EVV_GATE": (_REAL, 3.0),
    "EKF2_EVV_NOISE": (_REAL, 0.1),
    "EKF2_GPS_CTRL": (_INT32, 7),
    "EKF2_GPS_P_NOISE": (_REAL, 0.5),
    "EKF2_HGT_REF": (_INT32, 1),
    "MAV_SYS_ID": (_INT32, 1),
}
_PX4_ONE_SOURCE: dict[str, Entry] = {
    "EKF2_AGP_CTRL": (_INT32, 0),
    "EKF2_AGP_DELAY": (_REAL, 0.0),
    "EKF2_AGP_NOISE": (_REAL, 0.9),
    "EKF2_AGP_GATE": (_REAL, 3.0),
}
_PX4_SOURCE: dict[str, Entry] = {
    "ID": (_INT32, 0),
    "CTRL": (_INT32, 0),
    "MODE": (_INT32, 0),
    "DELAY": (_REAL, 0.0),
    "NOISE": (_REAL, 1.0),
    "GATE": (_REAL, 3.0),
}
# The first PX4 that takes positions from a map over MAVLink, from up to four sources.
PX4_MAP_POSITIONS: Version = (1, 18, 0)


def defaults_of(kind: AutopilotKind, airframe: Airframe, version: Version) -> dict[str, Entry]:
    """Type and default by name, in the order of the names; empty for another autopilot."""
    entries: dict[str, Entry] = {}
    if kind is AutopilotKind.ARDUPILOT:
        entries |= _ARDUPILOT
        entries |= _COPTER if airframe is Airframe.COPTER else _PLANE if airframe is Airframe.PLANE else {}
        entries |= _RECEIVERS_TO_4_5 if version < (4, 6, 0) else {**_RECEIVERS_FROM_4_6, **_EKF_FROM_4_6}
        entries |= _IDS_TO_4_6 if version < (4, 7, 0) else _IDS_FROM_4_7
    elif kind is AutopilotKind.PX4:
        entries |= _PX4
        if version < PX4_MAP_POSITIONS:
            entries |= _PX4_ONE_SOURCE
        else:
            entries |= {f"EKF2_AGP{slot}_{name}": entry for slot in range(4) for name, entry in _PX4_SOURCE.items()}
    return dict(sorted(entries.items()))
