"""ArduPilot's logs: dataflash (.bin), written aboard, and telemetry (.tlog), written by a ground station."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from pymavlink import DFReader
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.errors import FlightError
from tilefix.flightlogs.series import LogSeries, checked_series
from tilefix.links.height import PRESSURE_RANGE_HPA, isa_altitude_m
from tilefix.links.packets import MAX_PACKET_BYTES, packet_bytes

_FAST_INDEX = "PYMAVLINK_FAST_INDEX"
_DATAFLASH_HEAD = b"\xa3\x95"
_DATAFLASH = {"attitude": "ATT", "height": "BARO", "ranged": "RFND", "gnss": "GPS"}
_TELEMETRY = {"attitude": "ATTITUDE", "height": "SCALED_PRESSURE", "ranged": "DISTANCE_SENSOR", "gnss": "GPS_RAW_INT"}
_RANGE_GOOD = 4
_LOOKING_DOWN = mavlink.MAV_SENSOR_ROTATION_PITCH_270
_NO_VEHICLES = (mavlink.MAV_TYPE_GCS, mavlink.MAV_TYPE_ONBOARD_CONTROLLER, mavlink.MAV_TYPE_GIMBAL)
# A telemetry log is stamped with Unix time in microseconds; a stamp outside 2000 to 2100 is none.
_STAMP_RANGE_US = (946_684_800 * 10**6, 4_102_444_800 * 10**6)


def read_dataflash(path: Path) -> LogSeries:
    """The series of a .bin; raises `FlightError`."""
    with path.open("rb") as file:
        if file.read(2) != _DATAFLASH_HEAD:
            raise FlightError("is no dataflash log", where=path, mend="give ArduPilot's .bin as it came off the card")
    attitude: list[tuple[float, ...]] = []
    height: list[tuple[float, ...]] = []
    ranged: list[tuple[float, ...]] = []
    gnss: list[tuple[float, ...]] = []
    try:
        # The reader writes its complaints to the terminal; what matters of them comes out below.
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            for message in _dataflash_messages(path):
                kind, time_s = message.get_type(), message.TimeUS * 1e-6
                if kind == "ATT":
                    attitude.append((time_s, message.Roll, message.Pitch, message.Yaw))
                elif kind == "BARO":
                    height.append((time_s, message.Alt))
                elif kind == "RFND" and message.Orient == _LOOKING_DOWN and message.Stat == _RANGE_GOOD:
                    ranged.append((time_s, message.Dist))
                elif kind == "GPS" and message.Status >= 3:
                    gnss.append((time_s, message.Lat, message.Lng))
    except Exception as error:
        # The reader trusts the log: a damaged one makes it raise nearly anything.
        raise FlightError(
            f"dataflash log cannot be read: {error}", where=path, mend="copy it off the card again"
        ) from error
    return checked_series(path, _DATAFLASH, attitude, height, ranged, gnss)


class _Dataflash(DFReader.DFReader_binary):  # type: ignore[misc]
    """The reader, which gives its file back also when it fails to begin.

    Its compiled indexer is left out: that one trusts the lengths in the file, and complains past Python's streams.
    """

    def __init__(self, path: Path) -> None:
        before = os.environ.get(_FAST_INDEX)
        os.environ[_FAST_INDEX] = "0"
        self.filehandle: Any = None
        self.data_map: Any = None
        try:
            super().__init__(str(path), zero_time_base=True)
        except Exception:
            self.close()
            raise
        finally:
            if before is None:
                del os.environ[_FAST_INDEX]
            else:
                os.environ[_FAST_INDEX] = before

    def close(self) -> None:
        """Gives the file back; its map goes with the last view of it."""
        if self.filehandle is not None:
            self.filehandle.close()
        if self.data_map is not None:
            with suppress(BufferError):
                self.data_map.close()


def _dataflash_messages(path: Path) -> Iterator[Any]:
    """The messages needed, of each sensor its first instance."""
    log = _Dataflash(path)
    try:
        while (message := log.recv_match(type=list(_DATAFLASH.values()))) is not None:
            instance = getattr(message, "I", getattr(message, "Instance", 0))
            if instance == 0:
                yield message
    finally:
        log.close()


def read_telemetry(path: Path) -> LogSeries:
    """The series of a .tlog, of its first vehicle; raises `FlightError`."""
    vehicle: tuple[int, int] | None = None
    rows: dict[str, list[tuple[int, int | None, Any]]] = {name: [] for name in _TELEMETRY.values()}
    behind_us: int | None = None
    for stamp_us, message in _telemetry_messages(path):
        source = (message.get_srcSystem(), message.get_srcComponent())
        kind = message.get_type()
        if vehicle is None and kind == "HEARTBEAT" and message.autopilot != mavlink.MAV_AUTOPILOT_INVALID:
            vehicle = None if message.type in _NO_VEHICLES else source
        if source != vehicle or kind not in rows:
            continue
        boot_ms = getattr(message, "time_boot_ms", None)
        if boot_ms is not None:
            late_us = stamp_us - boot_ms * 1000
            behind_us = late_us if behind_us is None else min(behind_us, late_us)
        rows[kind].append((stamp_us, boot_ms, message))
    if vehicle is None:
        raise FlightError("telemetry log holds no autopilot's heartbeat", where=path, mend="give the .tlog of a flight")

    def dated(kind: str) -> Iterator[tuple[float, Any]]:
        """By the vehicle's own clock where a message has it: radio delays then drop out."""
        for stamp_us, boot_ms, message in rows[kind]:
            own = boot_ms is not None and behind_us is not None
            yield (boot_ms * 1000 + behind_us if own else stamp_us) * 1e-6, message  # type: ignore[operator]

    attitude = [(t, *map(math.degrees, (m.roll, m.pitch, m.yaw))) for t, m in dated("ATTITUDE")]
    height = [
        (t, isa_altitude_m(m.press_abs))
        for t, m in dated("SCALED_PRESSURE")
        if PRESSURE_RANGE_HPA[0] <= m.press_abs <= PRESSURE_RANGE_HPA[1]
    ]
    ranged = [(t, m.current_distance / 100.0) for t, m in dated("DISTANCE_SENSOR") if _usable_range(m)]
    gnss = [(t, m.lat / 1e7, m.lon / 1e7) for t, m in dated("GPS_RAW_INT") if m.fix_type >= 3]
    return checked_series(path, _TELEMETRY, attitude, height, ranged, gnss)


def _usable_range(message: Any) -> bool:
    inside = message.min_distance <= message.current_distance <= message.max_distance
    return bool(inside and message.current_distance > 0 and message.orientation == _LOOKING_DOWN)


def _telemetry_messages(path: Path) -> Iterator[tuple[int, Any]]:
    """(stamp_us, message) of every sound packet: eight bytes of stamp, big-endian, then the packet."""
    parser = mavlink.MAVLink(None)
    data = b""
    at = 0
    with path.open("rb") as file:
        while True:
            if len(data) - at < 8 + MAX_PACKET_BYTES:
                data = data[at:] + file.read(1 << 20)
                at = 0
            if len(data) - at < 8 + 8:
                return
            (stamp_us,) = struct.unpack_from(">Q", data, at)
            length = packet_bytes(data, at + 8)
            if length <= 0 or not _STAMP_RANGE_US[0] <= stamp_us <= _STAMP_RANGE_US[1]:
                at += 1
                continue
            packet = bytearray(data[at + 8 : at + 8 + length])
            try:
                message = parser.decode(packet)
            except (mavlink.MAVError, struct.error, ValueError, IndexError, TypeError):
                at += 1
                continue
            at += 8 + length
            yield stamp_us, message
