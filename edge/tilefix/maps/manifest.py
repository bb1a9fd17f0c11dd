"""What a map package says of itself: `manifest.json`, read strictly and written the same for equal input."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tilefix.errors import MapError
from tilefix.geodesy import Grid, LocalFrame

MAP_FORMAT_VERSION = 2  # the newest one: 2 has terrain, a package without it is still written as 1
MANIFEST_FILE = "manifest.json"
_SEAL = "manifest_sha256"
DATA_FILES = ("imagery.npy", "coverage.npy", "tiles.npy", "tiles.faiss")
HEIGHT_FILE = "height.npy"  # only where the package has terrain

_MAX_MANIFEST_BYTES = 1 << 20
MAX_SIDE_PX = 400_000
MAX_PIXELS = 20_000_000_000
MAX_TILES = 20_000_000
MAX_GSD_M = 1000.0
MAX_HEIGHT_PIXELS = 25_000_000  # 100 MB: 10 km at 2 m, 100 km at 20 m
MAX_LOCAL_M = 500_000.0  # from the frame's centre: beyond it metres of the projection are no longer metres
_GRID_KEYS = ("west_m", "north_m", "gsd_m", "width_px", "height_px")
_REBUILD = "copy the package again, or rebuild it with tilefix map build"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The model that made the descriptors; fields as in `tilefix.manifest.ModelManifest`."""

    name: str
    sha256: str
    descriptors_of: str | None = None

    @property
    def identity(self) -> str:
        """Whose descriptors these are."""
        return self.descriptors_of or self.sha256


@dataclass(frozen=True, slots=True)
class ImageryInfo:
    """Where the imagery comes from; empty texts are unknown."""

    source: str
    date: str
    licence: str


@dataclass(frozen=True, slots=True)
class HeightInfo:
    """The package's terrain: its grid, in the package's own frame, and where it comes from.

    `datum`: what its heights are counted from, in the words of its maker; empty when unknown.
    """

    grid: Grid
    source: str
    datum: str


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A data file's checksum and size."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class MapManifest:
    """A map package's identity and limits.

    `patch_m`: metres of ground across one tile; `stride_m`: between tile centres; `tiles`: how many;
    `created`: text from the builder (a date, when one was given), empty otherwise; `height`: the terrain, where the
    package has it.
    """

    frame: LocalFrame
    grid: Grid
    patch_m: float
    stride_m: float
    tiles: int
    descriptor_dim: int
    metric: str
    model: ModelRef
    imagery: ImageryInfo
    files: Mapping[str, FileEntry]
    created: str = ""
    height: HeightInfo | None = None

    @property
    def format_version(self) -> int:
        """The oldest format that can say all of it."""
        return 1 if self.height is None else 2

    @property
    def data_files(self) -> tuple[str, ...]:
        """The names of the package's files beside the manifest."""
        return DATA_FILES if self.height is None else (*DATA_FILES, HEIGHT_FILE)


def manifest_json(manifest: MapManifest) -> str:
    """The manifest as JSON text: sorted keys, so equal manifests are equal bytes."""
    grid = manifest.grid
    raw = {
        "format_version": manifest.format_version,
        "created": manifest.created,
        "frame": {"lat_deg": manifest.frame.lat_deg, "lon_deg": manifest.frame.lon_deg},
        "grid": {key: getattr(grid, key) for key in _GRID_KEYS},
        "patch_m": manifest.patch_m,
        "stride_m": manifest.stride_m,
        "tiles": manifest.tiles,
        "descriptor_dim": manifest.descriptor_dim,
        "metric": manifest.metric,
        "model": {key: value for key, value in asdict(manifest.model).items() if value is not None},
        "imagery": {key: getattr(manifest.imagery, key) for key in ("source", "date", "licence")},
        "files": {name: {"sha256": e.sha256, "bytes": e.bytes} for name, e in manifest.files.items()},
    }
    if manifest.height is not None:
        terrain = manifest.height
        raw["height"] = {
            "grid": {key: getattr(terrain.grid, key) for key in _GRID_KEYS},
            "source": terrain.source,
            "datum": terrain.datum,
        }
    return sealed(raw)


def sealed(raw: Mapping[str, object]) -> str:
    """The text of a manifest file, with a checksum of its own: one changed digit would move the whole map."""
    body = {key: value for key, value in raw.items() if key != _SEAL}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, _SEAL: digest}, indent=2, sort_keys=True) + "\n"


def load_map_manifest(path: Path) -> MapManifest:
    """Reads and checks a manifest; raises `MapError` naming the file and the field."""
    try:
        if path.is_symlink() or not path.is_file():
            raise MapError("no map manifest here", where=path, mend="give the folder that tilefix map build wrote")
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise MapError("map manifest is larger than 1 MiB", where=path, mend=_REBUILD)
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text)
    except OSError as error:
        raise MapError(f"cannot read the map manifest: {error.strerror}", where=path, mend=_REBUILD) from error
    except (ValueError, RecursionError) as error:
        raise MapError(f"map manifest is not JSON: {error}", where=path, mend=_REBUILD) from error
    return _Reader(path).manifest(raw, text)


class _Reader:
    """Turns parsed JSON into a `MapManifest`; every refusal names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def manifest(self, raw: object, text: str) -> MapManifest:
        if not isinstance(raw, dict):
            raise self._refuse("map manifest is not an object")
        version = raw.get("format_version")
        if type(version) is int and version > MAP_FORMAT_VERSION:
            raise MapError(
                f"map package has format version {version}, this tilefix reads {MAP_FORMAT_VERSION}",
                where=self._path,
                mend="update tilefix on this machine, or rebuild the map with this version",
            )
        if type(version) is not int or version < 1:
            raise self._refuse(f"map manifest has format_version {version!r}, this tilefix reads {MAP_FORMAT_VERSION}")
        if text != sealed(raw):
            raise self._refuse("map manifest was changed after it was written")
        keys = ("format_version", "created", "frame", "grid", "patch_m", "stride_m", "tiles", "descriptor_dim")
        of_version = () if version == 1 else ("height",)
        self._keys(raw, "map manifest", (*keys, "metric", "model", "imagery", "files", *of_version, _SEAL))
        if raw["metric"] != "cosine":
            raise self._refuse(f"metric {raw['metric']!r} is not known; this tilefix searches by cosine")
        grid = self._grid(raw["grid"])
        extent_m = math.hypot(grid.width_px, grid.height_px) * grid.gsd_m
        patch_m = self._number(raw, "patch_m", 1e-3, 1e6)
        height = None if version == 1 else self._height(raw["height"], grid)
        return MapManifest(
            frame=self._frame(raw["frame"]),
            grid=grid,
            patch_m=patch_m,
            stride_m=self._number(raw, "stride_m", 1e-3, max(extent_m, patch_m) + 1e6),
            tiles=self._whole(raw, "tiles", 1, MAX_TILES),
            descriptor_dim=self._whole(raw, "descriptor_dim", 2, 65536),
            metric="cosine",
            model=self._model(raw["model"]),
            imagery=self._imagery(raw["imagery"]),
            files=self._files(raw["files"], DATA_FILES if height is None else (*DATA_FILES, HEIGHT_FILE)),
            created=self._text(raw, "created"),
            height=height,
        )

    def _frame(self, raw: object) -> LocalFrame:
        raw = self._keys(raw, "frame", ("lat_deg", "lon_deg"))
        return LocalFrame(self._number(raw, "lat_deg", -85.0, 85.0), self._number(raw, "lon_deg", -180.0, 180.0))

    def _grid(self, raw: object) -> Grid:
        raw = self._keys(raw, "grid", _GRID_KEYS)
        grid = Grid(
            west_m=self._number(raw, "west_m", -MAX_LOCAL_M, MAX_LOCAL_M),
            north_m=self._number(raw, "north_m", -MAX_LOCAL_M, MAX_LOCAL_M),
            gsd_m=self._number(raw, "gsd_m", 1e-3, MAX_GSD_M),
            width_px=self._whole(raw, "width_px", 1, MAX_SIDE_PX),
            height_px=self._whole(raw, "height_px", 1, MAX_SIDE_PX),
        )
        if grid.width_px * grid.height_px > MAX_PIXELS or max(grid.east_m, -grid.south_m) > MAX_LOCAL_M:
            raise self._refuse("grid is larger than a map can be")
        return grid

    def _model(self, raw: object) -> ModelRef:
        raw = self._keys(raw, "model", ("name", "sha256"), optional=("descriptors_of",))
        descriptors_of = self._sha256(raw, "descriptors_of") if "descriptors_of" in raw else None
        return ModelRef(self._text(raw, "name"), self._sha256(raw), descriptors_of)

    def _imagery(self, raw: object) -> ImageryInfo:
        raw = self._keys(raw, "imagery", ("source", "date", "licence"))
        return ImageryInfo(self._text(raw, "source"), self._text(raw, "date"), self._text(raw, "licence"))

    def _height(self, raw: object, imagery: Grid) -> HeightInfo:
        raw = self._keys(raw, "height", ("grid", "source", "datum"))
        grid = self._grid(raw["grid"])
        if grid.width_px * grid.height_px > MAX_HEIGHT_PIXELS:
            raise self._refuse(f"terrain has more than {MAX_HEIGHT_PIXELS} heights")
        slack = grid.gsd_m
        inside = (
            grid.west_m <= imagery.west_m + slack
            and grid.east_m >= imagery.east_m - slack
            and grid.south_m <= imagery.south_m + slack
            and grid.north_m >= imagery.north_m - slack
        )
        if not inside:
            raise self._refuse("terrain does not reach over the imagery")
        return HeightInfo(grid, self._text(raw, "source"), self._text(raw, "datum"))

    def _files(self, raw: object, names: tuple[str, ...]) -> Mapping[str, FileEntry]:
        raw = self._keys(raw, "files", names)
        entries = {}
        for name in names:
            entry = self._keys(raw[name], f"files: {name}", ("sha256", "bytes"))
            entries[name] = FileEntry(self._sha256(entry), self._whole(entry, "bytes", 0, 1 << 50))
        return entries

    def _refuse(self, what: str) -> MapError:
        return MapError(what, where=self._path, mend=_REBUILD)

    def _keys(self, raw: object, name: str, wanted: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise self._refuse(f"{name} must be an object")
        if missing := [key for key in wanted if key not in raw]:
            raise self._refuse(f"{name} lacks {', '.join(missing)}")
        if unknown := sorted(raw.keys() - {*wanted, *optional}):
            raise self._refuse(f"{name} has unknown {', '.join(map(repr, unknown[:5]))}")
        return raw

    def _number(self, raw: dict[str, Any], key: str, low: float, high: float) -> float:
        value = raw[key]
        if type(value) not in (int, float) or not low <= value <= high:  # NaN fails the comparison
            raise self._refuse(f"{key} must be a number from {low:g} to {high:g}")
        return float(value)

    def _whole(self, raw: dict[str, Any], key: str, low: int, high: int) -> int:
        value = raw[key]
        if type(value) is not int or not low <= value <= high:
            raise self._refuse(f"{key} must be a whole number from {low} to {high}")
        return value

    def _text(self, raw: dict[str, Any], key: str) -> str:
        value = raw[key]
        if not isinstance(value, str) or len(value) > 10_000:
            raise self._refuse(f"{key} must be text")
        return value

    def _sha256(self, raw: dict[str, Any], key: str = "sha256") -> str:
        value = self._text(raw, key)
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise self._refuse(f"{key} must be 64 hexadecimal digits")
        return value
