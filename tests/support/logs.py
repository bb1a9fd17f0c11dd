"""Writers of small autopilot logs, so that tests import real files.

Sources: ArduPilot's libraries/AP_Logger (FMT messages and field letters), MAVLink's telemetry log (stamp and packet),
PX4's ULog file format, version 1.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.mavlink import Autopilot

_LETTERS = {"Q": "Q", "B": "B", "b": "b", "c": "h", "C": "H", "f": "f", "L": "i", "I": "I", "H": "H", "d": "d"}
_DATAFLASH = {
    "ATT": (130, "Qccccc", "TimeUS,DesRoll,Roll,DesPitch,Pitch,Yaw"),
    "BARO": (131, "QBff", "TimeUS,I,Alt,Press"),
    "RFND": (132, "QBCBB", "TimeUS,Instance,Dist,Stat,Orient"),
    "GPS": (133, "QBBLL", "TimeUS,I,Status,Lat,Lng"),
}


@dataclass(frozen=True)
class Sample:
    """The vehicle at one instant; `None` leaves the message out."""

    time_s: float
    roll_deg: float = 0.0
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0
    height_m: float | None = 0.0
    range_m: float | None = None
    place: tuple[float, float] | None = None


def climb(seconds: float = 10.0, rate_hz: float = 20.0, start_s: float = 100.0) -> list[Sample]:
    """Turns by 10 deg/s, climbs by 2 m/s from the ground, moves north; the receiver reports every fourth time."""
    samples = []
    for index in range(round(seconds * rate_hz) + 1):
        since_s = index / rate_hz
        samples.append(
            Sample(
                start_s + since_s,
                roll_deg=2.0,
                pitch_deg=-3.0,
                yaw_deg=(350.0 + 10.0 * since_s) % 360.0,
                height_m=max(0.0, 2.0 * (since_s - 1.0)),
                place=(47.0 + 1e-4 * since_s, 8.0) if index % 4 == 0 else None,
            )
        )
    return samples


def write_dataflash(path: Path, samples: list[Sample], leave_out: tuple[str, ...] = ()) -> Path:
    out = bytearray(_fmt(128, 89, "FMT", "BBnNZ", "Type,Length,Name,Format,Columns"))
    for name, (number, letters, columns) in _DATAFLASH.items():
        size = 3 + struct.calcsize("<" + "".join(_LETTERS[letter] for letter in letters))
        out += _fmt(number, size, name, letters, columns)
    for sample in samples:
        for name, *values in _dataflash_rows(sample):
            if name not in leave_out:
                number, letters, _ = _DATAFLASH[str(name)]
                out += struct.pack(
                    "<BBB" + "".join(_LETTERS[letter] for letter in letters), 0xA3, 0x95, number, *values
                )
    path.write_bytes(out)
    return path


def _dataflash_rows(sample: Sample) -> Iterator[tuple[object, ...]]:
    time_us = round(sample.time_s * 1e6)
    roll, pitch, yaw = (round(angle * 100) for angle in (sample.roll_deg, sample.pitch_deg, sample.yaw_deg))
    yield "ATT", time_us, 0, roll, 0, pitch, (yaw + 18000) % 36000 - 18000
    if sample.height_m is not None:
        yield "BARO", time_us, 0, sample.height_m, 90000.0
        yield "BARO", time_us, 1, sample.height_m + 500.0, 90000.0
    if sample.range_m is not None:
        yield "RFND", time_us, 0, round(sample.range_m * 100), 4, 25
        yield "RFND", time_us, 1, 1, 4, 25
    if sample.place is not None:
        yield "GPS", time_us, 0, 3, *(round(degrees * 1e7) for degrees in sample.place)
        yield "GPS", time_us, 1, 3, 0, 0


def _fmt(number: int, size: int, name: str, letters: str, columns: str) -> bytes:
    return struct.pack(
        "<BBBBB4s16s64s", 0xA3, 0x95, 128, number, size, name.encode(), letters.encode(), columns.encode()
    )


def write_telemetry(path: Path, samples: list[Sample], leave_out: tuple[str, ...] = (), delay_s: float = 0.05) -> Path:
    """Stamps lie `delay_s` after the vehicle's own clock, now and then much later; a ground station speaks too."""
    pilot, station = Autopilot(1), Autopilot(255, 190)
    unix_us = 1_800_000_000 * 10**6
    out = bytearray()

    def put(packet: bytes, time_s: float, late_s: float = 0.0) -> None:
        out.extend(struct.pack(">Q", unix_us + round((time_s + delay_s + late_s) * 1e6)) + packet)

    for index, sample in enumerate(samples):
        boot_ms, late_s = round(sample.time_s * 1000), 0.3 if index % 7 == 3 else 0.0
        if index % 20 == 0:
            put(station.heartbeat(mavlink.MAV_TYPE_GCS, mavlink.MAV_AUTOPILOT_INVALID), sample.time_s)
            put(station.attitude(boot_ms, 1.0, 1.0, 1.0), sample.time_s)
            put(pilot.heartbeat(), sample.time_s)
        angles = (math.radians(angle) for angle in (sample.roll_deg, sample.pitch_deg, sample.yaw_deg))
        if "ATTITUDE" not in leave_out:
            put(pilot.attitude(boot_ms, *angles), sample.time_s, late_s)
        if sample.height_m is not None:
            hpa = 1013.25 * (1.0 - 0.0065 * (400.0 + sample.height_m) / 288.15) ** 5.25588
            put(pilot.pressure(boot_ms, hpa), sample.time_s, late_s)
        if sample.range_m is not None:
            put(pilot.range(boot_ms, sample.range_m), sample.time_s, late_s)
        if sample.place is not None:
            put(pilot.gps(lat_deg=sample.place[0], lon_deg=sample.place[1]), sample.time_s)
    path.write_bytes(out)
    return path


_ULOG = {
    "vehicle_attitude": "uint64_t timestamp;float[4] q;",
    "vehicle_air_data": "uint64_t timestamp;float baro_alt_meter;",
    "distance_sensor": (
        "uint64_t timestamp;float current_distance;float min_distance;float max_distance;uint8_t orientation;"
    ),
    "vehicle_gps_position": "uint64_t timestamp;int32_t lat;int32_t lon;uint8_t fix_type;",
}
_ULOG_PACKING = {
    "vehicle_attitude": "<Qffff",
    "vehicle_air_data": "<Qf",
    "distance_sensor": "<QfffB",
    "vehicle_gps_position": "<QiiB",
}


def write_ulog(path: Path, samples: list[Sample], leave_out: tuple[str, ...] = ()) -> Path:
    start_us = round(samples[0].time_s * 1e6)
    out = bytearray(b"ULog\x01\x12\x35\x01" + struct.pack("<Q", start_us))
    out += _ulog_message("B", bytes(40))
    for name, fields in _ULOG.items():
        out += _ulog_message("F", f"{name}:{fields}".encode())
    for number, name in enumerate(_ULOG):
        if name not in leave_out:
            out += _ulog_message("A", struct.pack("<BH", 0, number) + name.encode())
    for sample in samples:
        for name, *values in _ulog_rows(sample):
            if name not in leave_out:
                number = list(_ULOG).index(str(name))
                out += _ulog_message("D", struct.pack("<H", number) + struct.pack(_ULOG_PACKING[str(name)], *values))
    path.write_bytes(out)
    return path


def _ulog_rows(sample: Sample) -> Iterator[tuple[object, ...]]:
    time_us = round(sample.time_s * 1e6)
    yield "vehicle_attitude", time_us, *_quaternion(sample)
    if sample.height_m is not None:
        yield "vehicle_air_data", time_us, 400.0 + sample.height_m
    if sample.range_m is not None:
        yield "distance_sensor", time_us, sample.range_m, 0.2, 120.0, 25
    if sample.place is not None:
        yield "vehicle_gps_position", time_us, *(round(degrees * 1e7) for degrees in sample.place), 3


def _quaternion(sample: Sample) -> tuple[float, float, float, float]:
    """Rz(yaw) Ry(pitch) Rx(roll) as (w, x, y, z)."""
    cr, sr, cp, sp, cy, sy = (
        function(math.radians(angle) / 2.0)
        for angle in (sample.roll_deg, sample.pitch_deg, sample.yaw_deg)
        for function in (math.cos, math.sin)
    )
    return (
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    )


def _ulog_message(kind: str, body: bytes) -> bytes:
    return struct.pack("<HB", len(body), ord(kind)) + body


WRITERS = {".bin": write_dataflash, ".tlog": write_telemetry, ".ulg": write_ulog}


def broken(samples: list[Sample], index: int, **changes: float) -> list[Sample]:
    """The samples with one of them changed."""
    return [replace(sample, **changes) if at == index else sample for at, sample in enumerate(samples)]  # type: ignore[arg-type]
