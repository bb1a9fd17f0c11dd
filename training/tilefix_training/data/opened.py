"""The pictures of a view as a configuration names them: cut patches, or a data set's whole pictures."""

from __future__ import annotations

from pathlib import Path

from tilefix_training.config import FitConfig, ViewConfig
from tilefix_training.data.images import FolderImages, Images, PatchImages
from tilefix_training.data.layouts import training_pictures
from tilefix_training.data.patches import MARGIN, view_patches
from tilefix_training.sources import DatasetSource


def open_images(view: str, config: FitConfig) -> Images:
    """The pictures of the view "drone" or "satellite"; raises `ConfigError` when its sources give none.

    Patches are cut once and kept beside the run's folder, in `cache`.
    """
    own = config.view(view)
    source = own.sources[0]
    if isinstance(source, DatasetSource):
        paths = training_pictures(source.dataset, Path(source.folder), view, height_m=source.height_m)
        return FolderImages(paths, config.patches.stored_px, f"[{view}] {source.folder}", threads=config.run.threads)
    cache = config.out.parent / "cache"
    return PatchImages(view_patches(view, own, config.patches.stored_px, config.run.seed, cache), f"[{view}]")


def margin(view: ViewConfig) -> float:
    """Ground of a stored picture over what the network sees of it: patches are cut wide, whole pictures are not."""
    return 1.0 if isinstance(view.sources[0], DatasetSource) else MARGIN
