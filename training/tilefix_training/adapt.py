"""A model made better for one area, out of the area's map and footage of it that nobody located.

The run is an ordinary one: its configuration is written beside it, and `tilefix-train fit` understands it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tilefix.embedders import manifest_path
from tilefix.errors import ConfigError
from tilefix.flight import open_flight
from tilefix.manifest import ModelManifest, load_manifest
from tilefix.mappackage import MapPackage
from tilefix_training.config import load_config
from tilefix_training.evaluation.command import write_json
from tilefix_training.network.backbone import BackboneConfig
from tilefix_training.network.checkpoint import load_checkpoint
from tilefix_training.network.export import export_checkpoint
from tilefix_training.network.weights import load_weights
from tilefix_training.train import fit

CONFIG = "adapt.toml"
RESULT = "adapt.json"
RANGE = (0.8, 1.25)  # of the map's patch: what the adapted model is shown
DRONE_PATCHES = 1200
MAP_PATCHES = 1500

log = logging.getLogger(__name__)

_TEXT = """# Written by tilefix-train adapt; tilefix-train fit understands it too.
[run]
name = {name}
out = {out}
preset = "tilefix"
epochs = 8
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

[drone]
eps = 0.5
sources = [
{drone}
]

[satellite]
sources = [
    {{ kind = "map", folder = {map}, patches = {map_patches}, patch_m = {patch_m} }},
]

[cluster]
k1 = 12
k2 = 3

[icel]
cross_epoch = 0

[ple]
epoch = 2

[optimiser]
learning_rate = 3e-4
iterations = 40
clusters_per_batch = 8
"""


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

    `package`: map package of the area. `footage`: flight folders, whose positions are not read; FOLDER:FIRST:LAST
    takes these frames only. `score`: a flight with positions (its `frames` "FIRST:LAST") on which dense localisation is
    measured every `stride_m`; without it the table tells what needs no positions (`evaluation.criterion`). `changes`:
    of the configuration, by "section.key". Raises `ConfigError` for what cannot be read, before anything is computed.
    """
    if not footage:
        raise ConfigError("no footage", mend="give at least one flight folder")
    before = _manifest(model)
    area = MapPackage.open(package)
    pieces = [_piece(str(one)) for one in footage]
    for folder, _, _ in pieces:
        open_flight(Path(folder))
    if score is not None:
        open_flight(score)
    path = out / CONFIG
    if not resume and (out / "run").exists():
        raise ConfigError("holds a run already", where=out, mend="give --resume, or another --out")
    out.mkdir(parents=True, exist_ok=True)
    if not resume:
        path.write_text(_config(model, before, area, package, pieces, out))
    config = load_config(path, changes)
    checkpoint = fit(config, resume=resume)
    exported = export_checkpoint(load_checkpoint(checkpoint), checkpoint, out)
    text, figures = _compare(model, str(exported), package, config, score, frames, stride_m)
    write_json(out / RESULT, figures)
    return f"{text}\nmodel: {exported}\nbuild the map anew with it: tilefix map build --model {exported} ..."


def _manifest(model: str) -> ModelManifest:
    if Path(model).suffix == ".safetensors":
        from tilefix_training.evaluation.models import open_model

        return open_model(model, "cpu").manifest
    return load_manifest(manifest_path(model))


def _piece(text: str) -> tuple[str, int, int]:
    """Folder, first and last frame (-1: to the end)."""
    parts = text.rsplit(":", 2)
    if len(parts) == 3 and all(part.isdigit() for part in parts[1:]):
        first, last = int(parts[1]), int(parts[2])
        if first > last:
            raise ConfigError(f"--footage {text}: goes backwards", mend="give the smaller number first")
        return parts[0], first, last
    return text, 0, -1


def _config(
    model: str,
    manifest: ModelManifest,
    area: MapPackage,
    package: Path,
    pieces: Sequence[tuple[str, int, int]],
    out: Path,
) -> str:
    shape = getattr(load_weights(model), "config", None)
    if not isinstance(shape, BackboneConfig):
        raise ConfigError(f"{model} is no network of this project", mend="adapt one that tilefix-train fit gave")
    patch_m = area.manifest.patch_m
    shown = [max(patch_m * RANGE[0], manifest.patch_m_min), min(patch_m * RANGE[1], manifest.patch_m_max)]
    each = max(1, DRONE_PATCHES // len(pieces))
    drone = [
        f'    {{ kind = "flight", folder = {json.dumps(str(Path(folder).resolve()))}, first = {first}, last = {last}, '
        f"patches = {each}, patch_m = {shown} }},"
        for folder, first, last in pieces
    ]
    source = area.manifest.imagery.source
    return _TEXT.format(
        name=json.dumps(f"{manifest.name}-adapted"),
        out=json.dumps(str((out / "run").resolve())),
        model=json.dumps(model if not Path(model).exists() else str(Path(model).resolve())),
        trained_on=json.dumps([*manifest.trained_on, f"map {source}", *(f"footage {Path(p[0]).name}" for p in pieces)]),
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
        map=json.dumps(str(package.resolve())),
        map_patches=MAP_PATCHES,
        patch_m=shown,
    )


def _compare(
    model: str,
    adapted: str,
    package: Path,
    config: Any,
    score: Path | None,
    frames: str | None,
    stride_m: float | None,
) -> tuple[str, dict[str, Any]]:
    from tilefix_training.evaluation.models import open_model

    models = {"before": open_model(model, "cpu"), "after": open_model(adapted, "cpu")}
    if score is None:
        return _without_positions(models, config)
    from dataclasses import asdict

    from tilefix_training.evaluation import dense
    from tilefix_training.evaluation.command import number_range
    from tilefix_training.evaluation.places import flight_case, open_ground

    manifest = models["before"].manifest
    ground = open_ground(package, manifest, None)
    span = None if frames is None else number_range(frames, "--frames")
    case = flight_case(ground, open_flight(score), manifest.patch_px, stride_m=stride_m, frames=span)
    scores = {name: dense.score([case], one.describe) for name, one in models.items()}
    return dense.table(scores), {name: asdict(value) for name, value in scores.items()}


def _without_positions(models: Mapping[str, Any], config: Any) -> tuple[str, dict[str, Any]]:
    """What the pseudo-labels say of themselves, of the run's own pictures."""
    import numpy as np

    from tilefix_training.data.opened import margin, open_images
    from tilefix_training.evaluation.criterion import criteria
    from tilefix_training.method.cluster import cluster_labels
    from tilefix_training.network.features import centre

    figures: dict[str, Any] = {}
    for name, model in models.items():
        features = []
        for view in ("drone", "satellite"):
            images, wide = open_images(view, config), margin(config.view(view))
            pictures = np.stack([centre(images[i], config.patches.patch_px, wide) for i in range(len(images))])
            features.append(model.describe(pictures, None))
        labels = cluster_labels(
            features[0],
            k1=config.cluster.k1,
            k2=config.cluster.k2,
            eps=config.drone.eps,
            min_samples=config.cluster.min_samples,
        )
        figures[name] = criteria(features[0], labels, features[1])
    names = list(figures["before"])
    lines = [f"{'':<8}" + "".join(f"{name:>12}" for name in names)]
    lines += [f"{title:<8}" + "".join(f"{values[name]:>12.3f}" for name in names) for title, values in figures.items()]
    return "\n".join(lines) + "\nlarger is better; positions were not given", figures
