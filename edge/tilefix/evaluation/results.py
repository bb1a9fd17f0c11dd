"""Files of results, written whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from tilefix.errors import FlightError


def write_results(out: Path, files: Mapping[str, str]) -> None:
    """Writes texts into the folder, each under its name only when it is whole.

    Raises `FlightError` when that cannot be done; then nothing half-written stays.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / f"{name}.partial").write_text(text, encoding="utf-8", newline="\n")
        for name in files:
            (out / f"{name}.partial").replace(out / name)
    except OSError as error:
        for name in files:
            with contextlib.suppress(OSError):
                (out / f"{name}.partial").unlink(missing_ok=True)
        raise FlightError(
            f"results cannot be written: {error.strerror}", where=out, mend="give another --out"
        ) from error
