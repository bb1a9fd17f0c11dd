"""What a person watches of a run: a progress bar, and TensorBoard's curves, histograms and sheets of found pictures."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from tilefix.types import Float32Array, IntArray, UInt8Array
from tilefix_training.data.images import Images
from tilefix_training.method.neighbours import unit

FOLDER = "tensorboard"
TOP = 5  # satellites shown for each drone picture
_SHEET_PX = 96  # side of a picture on a sheet
_GAP_PX = 4

T = TypeVar("T")

log = logging.getLogger(__name__)


class Monitor:
    """Writes to `folder/tensorboard` when `enabled`; does nothing otherwise.

    Without the tensorboard package one line of log says so, and everything else works. `first_epoch`: where the run
    goes on from; what an earlier process wrote from that epoch on is taken out of the curves. Nothing is written before
    the first value. Call `close` at the end.
    """

    def __init__(self, folder: Path, *, enabled: bool = True, first_epoch: int = 0) -> None:
        self._folder = folder / FOLDER
        self._enabled = enabled
        self._first_epoch = first_epoch
        self._writer: Any = None
        self._missing = False
        self._last: dict[str, int] = {}  # the epoch that each curve has last

    def start(self, epoch: int) -> None:
        """The run goes on from `epoch`; call it before the first value."""
        self._first_epoch = epoch

    def scalars(self, values: Mapping[str, Any], epoch: int) -> None:
        """Curves by name. Tables in the table become name/name; what is no number is left out.

        A curve gets one value an epoch, the first.
        """
        writer = self._open()
        if writer is not None:
            for name, value in _numbers("", values):
                if self._last.get(name) != epoch:
                    writer.add_scalar(name, value, epoch)
                    self._last[name] = epoch

    def epoch(self, row: Mapping[str, Any]) -> None:
        """The log's row of an epoch as curves; its "epoch" is their step."""
        self.scalars({name: value for name, value in row.items() if name != "epoch"}, int(row["epoch"]))

    def clusters(self, view: str, labels: IntArray, epoch: int) -> None:
        """How many classes and outliers (label -1) a view has, and the histogram of the classes' sizes."""
        writer = self._open()
        if writer is None:
            return
        sizes = np.bincount(labels[labels >= 0])
        sizes = sizes[sizes > 0]
        self.scalars({view: {"classes": len(sizes), "outliers": int((labels < 0).sum())}}, epoch)
        if len(sizes):
            writer.add_histogram(f"{view}/class_sizes", sizes, epoch)

    def retrieval(
        self,
        drone: Images,
        satellite: Images,
        drone_features: Float32Array,
        satellite_features: Float32Array,
        epoch: int,
        *,
        rows: Sequence[int] | None = None,
    ) -> None:
        """A sheet of drone pictures, each with the satellite pictures most like it by the features (n, d).

        `rows`: of the drone pictures; 8 spread over all unless given. Nobody's identity is known: look for yourself.
        """
        writer = self._open()
        if writer is None or not len(drone_features) or not len(satellite_features):
            return
        chosen = np.unique(np.linspace(0, len(drone_features) - 1, 8).astype(int)) if rows is None else np.array(rows)
        picture = sheet(drone, satellite, drone_features, satellite_features, chosen)
        writer.add_image("retrieval", picture, epoch, dataformats="HWC")
        writer.flush()

    def progress(self, items: Iterable[T], total: int, text: str) -> Iterator[T]:
        """The same items, with a progress bar on standard error where that is a terminal."""
        silent = not (self._enabled and sys.stderr.isatty())
        yield from tqdm(items, total=total, desc=text, leave=False, disable=silent, file=sys.stderr)

    def close(self) -> None:
        """Writes what is left; may be called twice."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> Any:
        if self._writer is None and self._enabled and not self._missing:
            try:
                importlib.import_module("tensorboard")
                module = importlib.import_module("torch.utils.tensorboard")
            except ImportError:
                self._missing = True
                log.warning("no TensorBoard curves: pip install tensorboard")
                return None
            purge = self._first_epoch if self._folder.exists() else None
            self._writer = module.SummaryWriter(str(self._folder), purge_step=purge)
        return self._writer


def sheet(
    drone: Images,
    satellite: Images,
    drone_features: Float32Array,
    satellite_features: Float32Array,
    rows: IntArray,
) -> UInt8Array:
    """A picture uint8 (h, w, 3): per row a drone picture, a gap, and the `TOP` satellites by cosine, best first."""
    queries = unit(drone_features[rows])
    similarity = queries @ unit(satellite_features).T
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :TOP]
    lines = []
    for row, found in zip(rows, best, strict=True):
        gap = np.full((_SHEET_PX, _GAP_PX, 3), 255, np.uint8)
        lines.append(np.hstack([_small(drone[int(row)]), gap, *(_small(satellite[int(i)]) for i in found)]))
    return np.vstack(lines)


def _small(picture: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.resize(picture, (_SHEET_PX, _SHEET_PX), interpolation=cv2.INTER_AREA), np.uint8)


def _numbers(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{prefix}{name}/", value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{name}", float(value)
