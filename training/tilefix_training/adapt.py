"""A model made better for one area, out of the area's map and footage of it that nobody located.

The run is an ordinary one: its configuration is written beside it, and `tilefix-train fit` understands it.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilefix.errors import ConfigError
from tilefix.evaluation.results import write_results
from tilefix.flights.flight import Flight, open_flight
from tilefix.localization.rectify import Rectifier, View
from tilefix.manifest import ModelManifest
from tilefix.maps.package import MapPackage
from tilefix_training.adapt_report import localised, without_positions
from tilefix_training.config import FitConfig, load_config
from tilefix_training.data.opened import open_images
from tilefix_training.evaluation.command import number_range
from tilefix_training.evaluation.models import open_model
from tilefix_training.network.backbone import BackboneConfig
from tilefix_training.network.checkpoint import load_checkpoint
from tilefix_training.network.export import export_checkpoint
from tilefix_training.network.weights import load_weights
from tilefix_training.state import CHECKPOINT
from tilefix_training.train import fit

CONFIG = "adapt.toml"
RESULT = "adapt.json"
RUN = "run"
RANGE = (0.6, 1.1)  # of the map's patch: what the adapted model is shown
DRONE_PATCHES = 1200
MAP_PATCHES = 1200
LAYERS = 4  # times that the map is cut; of one layer, patches lie at least half a patch apart
FEWEST = 40  # drone patches: with fewer there is nothing to cluster
_FIT = 0.95  # of the largest square in a frame: room for it to lie elsewhere than in the middle
_SPARE_BYTES = 100 << 20  # for checkpoints, logs and the exported model

log = logging.getLogger(__name__)

_TEXT = """# Written by tilefix-train adapt; tilefix-train fit understands it too.
[run]
name = {name}
out = {out}
preset = "tilefix"
epochs = 5
initial = {model}
trained_on = {trained_on}

[network]
depths = {depths}
dims = {dims}
pool_grid = {pool_grid}
neck = {neck}
standardise_input = {standardise_input}

[patches]
patch_px = {patch_px}
stored_px = {stored_px}
patch_m_min = {patch_m_min}
patch_m_max = {patch_m_max}
# Little of each: a network taught that a patch looks the same 17 m aside cannot tell where in these 17 m it is.
rotation_deg = 5.0
scale = 0.04
shift = 0.03

[drone]
eps = 0.5
sources = [
{drone}
]

[satellite]
sources = [
{map}
]

[cluster]
k1 = 12
k2 = 3

[contrast]
momentum_first = 0.2
momentum = 0.1

# The parts that draw a drone cluster to whole map patches: those may lie a quarter of a patch aside.
[dhml]
enabled = false

[icel]
enabled = false

[ple]
enabled = false

[optimiser]
learning_rate = 1e-3
iterations = 40
clusters_per_batch = 8
bfloat16 = false
"""


@dataclass(frozen=True)
class Piece:
    """Frames `first` to `last` of a flight; -1: to the end."""

    flight: Flight
    first: int
    last: int


def adapt(
    package: Path,
    footage: Sequence[Path],
    out: Path,
    *,
    model: str = "default",
    score: Path | None = None,
    frames: str | None = None,
    stride_m: float | None = None,
    changes: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> str:
    """Trains, exports `out/NAME-adapted.onnx` and gives a table of before and after, which `out/adapt.json` holds too.

    `package`: map package of the area, built with any model. `footage`: flight folders, whose positions are not read;
    FOLDER:FIRST:LAST takes these frames only. `score`: a flight with positions (its `frames` "FIRST:LAST") on which
    dense localisation is measured every `stride_m`; without it the table tells what needs no positions
    (`evaluation.criterion`). `changes`: of the configuration, by "section.key". Raises `ConfigError`, `MapError`,
    `ModelError` or `FlightError` for what cannot be read or does not fit, before anything is computed.
    """
    pieces = [_piece(str(one)) for one in footage]
    if not pieces:
        raise ConfigError("no footage", mend="give at least one flight folder")
    span = None if frames is None else number_range(frames, "--frames")
    if score is None and (frames is not None or stride_m is not None):
        raise ConfigError("--frames and --stride-m need --score", mend="give a flight folder with positions")
    area = MapPackage.open(package)
    before = open_model(model, "cpu").manifest
    before.check_patch_m(area.manifest.patch_m, package)
    scored = None if score is None else open_flight(score)
    text = _config(model, before, area, pieces, out)
    config = _prepared(text, out, changes, resume)
    checkpoint = _trained(config, resume)
    exported = export_checkpoint(load_checkpoint(checkpoint), checkpoint, out)
    if scored is None:
        table, figures = without_positions(model, str(exported), config)
    else:
        table, figures = localised(model, str(exported), package, scored, span, stride_m)
    write_results(out, {RESULT: json.dumps(figures, indent=2) + "\n"})
    return f"{table}\nmodel: {exported}\nbuild the map anew with it: tilefix map build --model {exported} ..."


def _piece(text: str) -> Piece:
    """FOLDER or FOLDER:FIRST:LAST."""
    parts = text.rsplit(":", 2)
    if len(parts) == 3 and all(part.isdigit() for part in parts[1:]):
        first, last = number_range(":".join(parts[1:]), f"--footage {text}:")
        return Piece(open_flight(Path(parts[0])), first, last)
    return Piece(open_flight(Path(text)), 0, -1)


def _config(model: str, manifest: ModelManifest, area: MapPackage, pieces: Sequence[Piece], out: Path) -> str:
    shape = getattr(load_weights(model), "config", None)
    if not isinstance(shape, BackboneConfig):
        raise ConfigError(f"{model} is no network of this project", mend="adapt one that tilefix-train fit gave")
    patch_m = area.manifest.patch_m
    largest = min(patch_m * RANGE[1], manifest.patch_m_max)
    seen = [_seen(piece, manifest, patch_m) for piece in pieces]
    each = max(1, DRONE_PATCHES // len(pieces))
    drone = [
        f'    {{ kind = "flight", folder = {json.dumps(str(piece.flight.folder.resolve()))}, first = {piece.first}, '
        f"last = {piece.last}, patches = {each}, patch_m = {list(metres)} }},"
        for piece, metres in zip(pieces, seen, strict=True)
    ]
    satellite = (
        f'    {{ kind = "map", folder = {json.dumps(str(area.path.resolve()))}, patches = {MAP_PATCHES // LAYERS}, '
        f"patch_m = {[min(low for low, _ in seen), round(largest, 1)]} }},"
    )
    source = area.manifest.imagery.source
    names = dict.fromkeys(f"footage {piece.flight.folder.name}" for piece in pieces)
    return _TEXT.format(
        name=json.dumps(f"{manifest.name}-adapted"),
        out=json.dumps(str((out / RUN).resolve())),
        model=json.dumps(model if not Path(model).exists() else str(Path(model).resolve())),
        trained_on=json.dumps([*manifest.trained_on, f"map {source or area.path.name}", *names]),
        depths=list(shape.depths),
        dims=list(shape.dims),
        pool_grid=shape.pool_grid,
        neck=json.dumps(shape.neck),
        standardise_input=json.dumps(shape.standardise_input),
        patch_px=manifest.patch_px,
        stored_px=2 * manifest.patch_px,
        patch_m_min=manifest.patch_m_min,
        patch_m_max=manifest.patch_m_max,
        drone="\n".join(drone),
        map="\n".join([satellite] * LAYERS),
    )


def _seen(piece: Piece, manifest: ModelManifest, patch_m: float) -> tuple[float, float]:
    """Metres of the smallest and the largest patch cut from the footage: as the map's, where the frames hold them."""
    flight = piece.flight
    rectifier = Rectifier(flight.camera, flight.mount)
    sides = []
    for number, row in enumerate(flight.rows):
        index, s = int(row.frame) if flight.video else number, row.state
        if index < piece.first or (piece.last >= 0 and index > piece.last):
            continue
        if s.roll_deg is None or s.pitch_deg is None or s.yaw_deg is None or s.agl_m is None or s.agl_m <= 1.0:
            continue
        view = rectifier.view(s.roll_deg, s.pitch_deg, s.yaw_deg, s.agl_m)
        if view is not None:
            sides.append(_square_m(view))
    if not sides:
        raise ConfigError(
            f"no frame from {piece.first} to {'the end' if piece.last < 0 else piece.last} can be laid flat",
            where=flight.folder,
            mend="the log needs roll_deg, pitch_deg, yaw_deg and agl_m; check FIRST:LAST",
        )
    fits = _FIT * float(np.median(sides))
    if fits < manifest.patch_m_min:
        raise ConfigError(
            f"frames hold squares of {fits:.0f} m, the model takes at least {manifest.patch_m_min:g} m",
            where=flight.folder,
            mend="give footage from higher up, or a model for smaller patches",
        )
    largest = min(RANGE[1] * patch_m, fits, manifest.patch_m_max)
    smallest = max(min(RANGE[0] * patch_m, 0.75 * largest), manifest.patch_m_min)
    return round(min(smallest, largest), 1), round(largest, 1)


def _square_m(view: View) -> float:
    """Side of the largest north-up square around the footprint's middle that the footprint holds."""
    corners = view.corners_m
    edges = np.roll(corners, -1, axis=0) - corners
    middle = corners.mean(axis=0) - corners
    across = np.abs(edges[:, 0] * middle[:, 1] - edges[:, 1] * middle[:, 0])
    return float(2.0 * (across / np.abs(edges).sum(axis=1)).min())


def _prepared(text: str, out: Path, changes: Mapping[str, Any] | None, resume: bool) -> FitConfig:
    """The configuration, written to `out`, its patches cut; raises `ConfigError` where that cannot be, or is there."""
    path = out / CONFIG
    if resume:
        if not path.exists():
            raise ConfigError("holds nothing to go on with", where=out, mend="leave --resume out")
        if _values(path.read_text(encoding="utf-8")) != _values(text):
            raise ConfigError("was started with other arguments", where=path, mend="give the same, or another --out")
    elif (out / RUN / CHECKPOINT).exists():
        raise ConfigError("holds an adaptation already", where=out, mend="give --resume, or another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        config = load_config(path, changes)
        needed = (DRONE_PATCHES + MAP_PATCHES) * config.patches.stored_px**2 * 3 + _SPARE_BYTES
        if not (out / RUN).exists() and (free := shutil.disk_usage(out).free) < needed:
            raise ConfigError(f"{free >> 20} MiB free, {needed >> 20} MiB needed", where=out, mend="make room")
        found = len(open_images("drone", config))
        open_images("satellite", config)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", where=out, mend="give another --out") from error
    if found < FEWEST:
        raise ConfigError(
            f"the footage gives {found} patches of ground, at least {FEWEST} are needed",
            where=", ".join(source.folder for source in config.drone.sources if hasattr(source, "folder")),
            mend="give more footage, or footage of more ground",
        )
    return config


def _values(text: str) -> list[str]:
    """The lines that mean something."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _trained(config: FitConfig, resume: bool) -> Path:
    try:
        return fit(config, resume=resume)
    except ConfigError as error:
        if "clusters" not in error.what:
            raise
        raise ConfigError(
            error.what,
            where=config.out,
            mend="give more footage, or footage of more ground; or another radius: --set drone.eps=0.6",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot be written: {error.strerror}", where=config.out, mend="make room, then go on with --resume"
        ) from error
