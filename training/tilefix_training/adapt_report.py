"""A model before and after its adaptation: where a flight's positions are known, and where none are."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tilefix.flights.flight import Flight
from tilefix_training.config import FitConfig
from tilefix_training.data.opened import margin, open_images
from tilefix_training.evaluation import dense
from tilefix_training.evaluation.criterion import criteria
from tilefix_training.evaluation.descriptors import thumbnail
from tilefix_training.evaluation.models import open_model
from tilefix_training.evaluation.places import flight_case, open_ground
from tilefix_training.method.cluster import cluster_labels
from tilefix_training.network.features import centre


def localised(
    before: str,
    after: str,
    package: Path,
    flight: Flight,
    span: tuple[int, int] | None,
    stride_m: float | None,
) -> tuple[str, dict[str, Any]]:
    """Dense localisation of a flight with both models, and with plain thumbnails."""
    models = {"before": open_model(before, "cpu"), "after": open_model(after, "cpu")}
    manifest = models["before"].manifest
    case = flight_case(open_ground(package, manifest, None), flight, manifest.patch_px, stride_m=stride_m, frames=span)
    describes = {name: one.describe for name, one in models.items()} | {"thumbnail": thumbnail}
    scores = {name: dense.score([case], describe) for name, describe in describes.items()}
    first = scores["before"]
    head = f"{first.queries} frames of {flight.folder.name}, {first.tiles_per_map} tiles, the nearest "
    head += f"{first.nearest_median_m:.1f} m off in the median; headings known"
    return f"{head}\n{dense.table(scores)}", {name: asdict(value) for name, value in scores.items()}


def without_positions(before: str, after: str, config: FitConfig) -> tuple[str, dict[str, Any]]:
    """What the pseudo-labels say of themselves, of the run's own pictures."""
    figures: dict[str, Any] = {}
    for name, model in {"before": open_model(before, "cpu"), "after": open_model(after, "cpu")}.items():
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
