"""Files that belong together, put in place together."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path


def put_in_place(made: Sequence[Path], folder: Path) -> None:
    """Moves the files into a folder of their file system, all of them or none.

    What they take the place of comes back when one of them cannot be moved. Raises the `OSError` that says why.
    """
    done: list[Path] = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".replaced-") as replaced:
        try:
            for file in made:
                place, before = folder / file.name, Path(replaced) / file.name
                if place.is_file():
                    place.replace(before)
                done.append(place)
                file.replace(place)
        except OSError:
            for place in reversed(done):
                before = Path(replaced) / place.name
                with contextlib.suppress(OSError):
                    if before.exists():
                        before.replace(place)
                    elif place.is_file():
                        place.unlink()
            raise
