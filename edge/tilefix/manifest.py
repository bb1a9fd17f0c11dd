"""What a model says of itself: the JSON file beside the ONNX file, the one home of the preprocessing's numbers."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tilefix.errors import ModelError

MODEL_FORMAT_VERSION = 1
_MAX_MANIFEST_BYTES = 1 << 20
_OPTIONAL = {"descriptors_of"}


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """A model's identity and limits.

    `patch_px`: side of the square input. `patch_m_min`, `patch_m_max`: metres of ground that it was trained to see
    across that side; outside that range it is refused. `mean`, `std`: per RGB channel, of pixels scaled to 0..1.
    `sha256`: of the model file. `trained_on`: names of the imagery, with licences. `descriptors_of`: the SHA-256 of
    the FP32 ONNX file whose descriptors this file reproduces (a quantized file, an engine); None for that file itself.
    """

    name: str
    file: str
    sha256: str
    patch_px: int
    patch_m_min: float
    patch_m_max: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    descriptor_dim: int
    metric: str
    trained_on: tuple[str, ...]
    format_version: int = MODEL_FORMAT_VERSION
    descriptors_of: str | None = None

    @property
    def identity(self) -> str:
        """Whose descriptors these are: models of one identity may search each other's maps."""
        return self.descriptors_of or self.sha256

    def check_patch_m(self, patch_m: float, where: object) -> None:
        """Raises `ModelError` when `patch_m` lies outside the trained range."""
        if not self.patch_m_min <= patch_m <= self.patch_m_max:
            raise ModelError(
                f"model {self.name} was trained on patches of {self.patch_m_min:g} to {self.patch_m_max:g} m, "
                f"not {patch_m:g} m",
                where=where,
                mend=f"choose --patch-m within {self.patch_m_min:g} to {self.patch_m_max:g}, or another model",
            )


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def save_manifest(manifest: ModelManifest, path: Path) -> None:
    """Writes the manifest as JSON, atomically; `descriptors_of` only where there is one, as older readers know none."""
    raw = {key: value for key, value in asdict(manifest).items() if value is not None}
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(raw, indent=2) + "\n")
    partial.replace(path)


def load_manifest(path: Path) -> ModelManifest:
    """Reads and checks a manifest; raises `ModelError` naming the file and the field."""
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ModelError("model manifest is larger than 1 MiB", where=path, mend="give the model's .json file")
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"cannot read the model manifest: {error.strerror}", where=path, mend="keep the .json beside the .onnx"
        ) from error
    except ValueError as error:
        raise ModelError(f"model manifest is not JSON: {error}", where=path, mend="export the model again") from error
    return _checked(raw, path)


def _checked(raw: object, path: Path) -> ModelManifest:
    def refuse(what: str) -> ModelError:
        return ModelError(what, where=path, mend="export the model again with tilefix-train export")

    if not isinstance(raw, dict):
        raise refuse("model manifest is not an object")
    version = raw.get("format_version")
    if version != MODEL_FORMAT_VERSION:
        raise refuse(f"model manifest has format_version {version!r}, this tilefix reads {MODEL_FORMAT_VERSION}")
    names = {field.name for field in fields(ModelManifest)}
    if missing := sorted(names - _OPTIONAL - raw.keys()):
        raise refuse(f"model manifest lacks {', '.join(missing)}")
    if unknown := sorted(raw.keys() - names):
        raise refuse(f"model manifest has unknown {', '.join(unknown)}")
    for key in ("name", "file", "sha256", "metric"):
        if not isinstance(raw[key], str) or not raw[key]:
            raise refuse(f"{key} must be text")
    for key, low, high in (("patch_px", 16, 4096), ("descriptor_dim", 2, 65536)):
        if type(raw[key]) is not int or not low <= raw[key] <= high:
            raise refuse(f"{key} must be a whole number from {low} to {high}")
    for key in ("mean", "std"):
        values = raw[key]
        if not isinstance(values, list) or len(values) != 3 or not all(_is_number(v) for v in values):
            raise refuse(f"{key} must be three numbers")
    if min(raw["std"]) <= 0.0:
        raise refuse("std must be positive")
    if not (_is_number(raw["patch_m_min"]) and _is_number(raw["patch_m_max"])):
        raise refuse("patch_m_min and patch_m_max must be numbers")
    if not 0.0 < raw["patch_m_min"] <= raw["patch_m_max"]:
        raise refuse("patch_m_min must be positive and at most patch_m_max")
    if raw["metric"] != "cosine":
        raise refuse(f"metric {raw['metric']!r} is not known; this tilefix searches by cosine")
    if Path(raw["file"]).name != raw["file"]:
        raise refuse("file must be a plain file name beside the manifest")
    descriptors_of = raw.get("descriptors_of")
    if descriptors_of is not None and not (
        isinstance(descriptors_of, str) and re.fullmatch(r"[0-9a-f]{64}", descriptors_of)
    ):
        raise refuse("descriptors_of must be 64 hexadecimal digits")
    trained_on = raw["trained_on"]
    if not isinstance(trained_on, list) or not all(isinstance(item, str) for item in trained_on):
        raise refuse("trained_on must be a list of texts")
    values = {**raw, "mean": tuple(raw["mean"]), "std": tuple(raw["std"]), "trained_on": tuple(trained_on)}
    return ModelManifest(**values)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
