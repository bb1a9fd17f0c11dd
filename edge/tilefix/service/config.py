"""The configuration of a flight: frozen dataclasses from one TOML file.

Whatever is unknown, of the wrong type or out of range is refused with file, line and mend. The limits stand beside
the fields; `deploy/config/tilefix.toml` is a complete example.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilefix.camera import CameraModel, Mount
from tilefix.embedders import PROVIDERS
from tilefix.errors import ConfigError
from tilefix.handover.settings import HandoverSettings
from tilefix.links.vehicle import GimbalSettings, HeightSettings
from tilefix.localization.localizer import LocalizerSettings
from tilefix.mapcheck.age import MAX_AGE_YEARS
from tilefix.publishing.settings import PublishSettings
from tilefix.toml.fields import chosen, limited, read_section
from tilefix.toml.file import TomlFile


@dataclass(frozen=True)
class MapSettings:
    """`path`: the map package, a folder. `max_age_years`: of older imagery is warned when a flight starts.
    `offset_*`: added to every position read off the map, for imagery that lies beside its place by the opposite;
    `tilefix calibrate` measures it."""

    path: Path
    max_age_years: float = limited(0.1, 1000.0, MAX_AGE_YEARS)
    offset_east_m: float = limited(-1000.0, 1000.0, 0.0)
    offset_north_m: float = limited(-1000.0, 1000.0, 0.0)


@dataclass(frozen=True)
class ModelSettings:
    """`path`: the model's .onnx, .engine or .json file; the shipped one by default. `provider`: see
    `tilefix.embedders.open_embedder`. `onnx`, `precision`: what `tilefix engine ensure` builds an .engine of, the
    shipped model by default, and how."""

    path: Path | None = None
    provider: str = chosen(*PROVIDERS)
    onnx: Path | None = None
    precision: str = chosen("fp16", "int8")


@dataclass(frozen=True)
class CameraSettings:
    """The camera: where its frames come from and its lens.

    `source`: see `tilefix.cameras`. `width`, `height`: of the picture that the lens figures belong to, pixels.
    Either `hfov_deg`, or `fx`, `fy`, `cx`, `cy` in pixels. `distortion`: OpenCV's k1 k2 p1 p2 k3. `rate_hz`: frames
    a second asked of a camera, and the pace of a folder or a video. `latency_ms`: from exposure to when the frame can
    be read; taken off its time. Negative where the autopilot's attitude is the later one; `tilefix calibrate` measures
    it.
    """

    source: str
    width: int = limited(16, 32768)
    height: int = limited(16, 32768)
    hfov_deg: float | None = limited(1.0, 170.0, None)
    fx: float | None = limited(1.0, 1e6, None)
    fy: float | None = limited(1.0, 1e6, None)
    cx: float | None = limited(-32768.0, 65536.0, None)
    cy: float | None = limited(-32768.0, 65536.0, None)
    distortion: tuple[float, float, float, float, float] = limited(-1e3, 1e3, (0.0, 0.0, 0.0, 0.0, 0.0))
    rate_hz: float = limited(0.1, 120.0, 10.0)
    latency_ms: float = limited(-200.0, 2000.0, 0.0)

    def __post_init__(self) -> None:
        focal = (self.fx, self.fy, self.cx, self.cy)
        if (self.hfov_deg is None) == all(value is None for value in focal):
            raise ValueError("give either hfov_deg or fx, fy, cx, cy")
        if self.hfov_deg is None and None in focal:
            raise ValueError("fx, fy, cx and cy belong together")

    @functools.cached_property
    def model(self) -> CameraModel:
        """The lens."""
        if self.fx is None or self.fy is None or self.cx is None or self.cy is None:
            assert self.hfov_deg is not None
            return CameraModel.from_hfov(self.width, self.height, self.hfov_deg, self.distortion)
        return CameraModel(self.width, self.height, self.fx, self.fy, self.cx, self.cy, self.distortion)


@dataclass(frozen=True)
class LinkSettings:
    """`url`: see `tilefix.links.transport`. `component_id`: tilefix's own, beside the vehicle's system id.

    `system_id`: the only vehicle to listen to; without it the first autopilot heard. `signing_key_file`: the key of a
    signed link (`tilefix link-key`); what is sent is then signed, and what is not signed refused, unless
    `require_signing` is false. `signing_state_file`: where the stamps are kept, by default beside the key.
    """

    url: str
    component_id: int = limited(1, 255, 191)
    system_id: int | None = limited(1, 255, None)
    signing_key_file: Path | None = None
    signing_state_file: Path | None = None
    require_signing: bool | None = None

    def __post_init__(self) -> None:
        if self.signing_key_file is None and (self.require_signing or self.signing_state_file is not None):
            raise ValueError("require_signing and signing_state_file need a signing_key_file")


@dataclass(frozen=True)
class RecordSettings:
    """`path`: where a flight folder is recorded, if at all. `max_bytes`: then the recording ends."""

    path: Path | None = None
    max_bytes: int = limited(1_000_000, 1e13, 8_000_000_000)


@dataclass(frozen=True)
class StartSettings:
    """What is known of the position.

    `hint_*`: where the aircraft starts, for a flight that begins without GNSS; all three or none. `at_loss`: what
    the belief becomes when GNSS is lost: `auto` (kept where it was seen to agree with GNSS, else uniform), `uniform`
    (anywhere on the map), `last_gnss` (around the receiver's last position) or `keep` (what the pictures said so far).
    `last_gnss_sigma_m`: how far that position may be wrong.
    """

    hint_lat_deg: float | None = limited(-85.0, 85.0, None)
    hint_lon_deg: float | None = limited(-180.0, 180.0, None)
    hint_sigma_m: float | None = limited(1.0, 1e5, None)
    at_loss: str = chosen("auto", "uniform", "last_gnss", "keep")
    last_gnss_sigma_m: float = limited(1.0, 1e4, 30.0)

    def __post_init__(self) -> None:
        if len({value is None for value in (self.hint_lat_deg, self.hint_lon_deg, self.hint_sigma_m)}) != 1:
            raise ValueError("hint_lat_deg, hint_lon_deg and hint_sigma_m belong together")


_MOUNT_LIMITS = dict.fromkeys(("roll_deg", "pitch_deg", "yaw_deg"), (-360.0, 360.0))


# The localizer's settings are checked by what they measure.
_LIMITS_BY_UNIT = {
    "_deg": (0.0, 180.0),
    "_m": (0.0, 1e5),
    "_mps": (0.0, 300.0),
    "_mps2": (0.0, 300.0),
    "_s": (0.0, 600.0),
    "_px": (0.0, 1e9),
    "_probability": (0.0, 1.0),
    "_score": (0.0, 100.0),
    "_support": (0.0, 1.0),
    "_evidence": (0.0, 100.0),
    "_error": (0.0, 0.5),
    "_drift": (0.0, 1.0),
}


def _localizer_limits() -> dict[str, tuple[float, float]]:
    names = [one.name for one in dataclasses.fields(LocalizerSettings)]
    return {name: limits for name in names for unit, limits in _LIMITS_BY_UNIT.items() if name.endswith(unit)}


@dataclass(frozen=True)
class Config:
    """A whole configuration; each field is the section of its name. `folder`: where relative paths start."""

    map: MapSettings
    camera: CameraSettings
    link: LinkSettings
    model: ModelSettings = field(default_factory=ModelSettings)
    mount: Mount = field(default_factory=Mount)
    gimbal: GimbalSettings = field(default_factory=GimbalSettings)
    height: HeightSettings = field(default_factory=HeightSettings)
    publish: PublishSettings = field(default_factory=PublishSettings)
    handover: HandoverSettings = field(default_factory=HandoverSettings)
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)
    record: RecordSettings = field(default_factory=RecordSettings)
    start: StartSettings = field(default_factory=StartSettings)
    folder: Path = Path()


def load_config(path: Path) -> Config:
    """Reads and checks a configuration; relative paths in it are relative to the file. Raises `ConfigError`."""
    toml = TomlFile(path, ConfigError)
    hints = typing.get_type_hints(Config)
    fields = [one for one in dataclasses.fields(Config) if one.name != "folder"]
    toml.section("", [one.name for one in fields])
    sections: dict[str, Any] = {"folder": path.parent}
    for section in fields:
        required = section.default_factory is dataclasses.MISSING
        kind = hints[section.name]
        limits = {Mount: _MOUNT_LIMITS, LocalizerSettings: _localizer_limits()}.get(kind)
        sections[section.name] = read_section(toml, section.name, kind, required=required, limits=limits)
    config = Config(**sections)
    if config.height.anchor == "ground" and config.height.ground_amsl_m is None:
        raise toml.refuse('anchor = "ground" needs the height of the ground', "height", "anchor", "add ground_amsl_m")
    if config.publish.gps_id == 0 and config.height.anchor == "gnss":
        raise toml.refuse(
            "gps_id = 0 makes tilefix the only receiver: no GNSS tells the height above sea level",
            "publish",
            "gps_id",
            'use gps_id = 1 (GPS2_TYPE = 14), or set anchor = "ground" and ground_amsl_m in [height]',
        )
    return config
