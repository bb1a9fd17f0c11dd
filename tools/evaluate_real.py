"""Evaluates tilefix on the real imagery in ../shared/data; nothing that it writes may be committed.

python tools/evaluate_real.py prepare nust --data ../shared/data --out out/real
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from real_flights import prepare_elsewhere, prepare_nust
from tilefix.errors import TilefixError

FLIGHTS: dict[str, Callable[[Path, Path], Path]] = {
    "nust": prepare_nust,
    "brighton_40m": lambda data, folder: prepare_elsewhere(data, "brighton_beach", folder, 40.0),
    "brighton_120m": lambda data, folder: prepare_elsewhere(data, "brighton_beach", folder, 120.0),
    "lewis_100m": lambda data, folder: prepare_elsewhere(data, "lewis_oblique", folder, 100.0),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares flights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="write flight folders")
    prepare.add_argument("names", nargs="+", choices=sorted(FLIGHTS))
    prepare.add_argument("--data", type=Path, default=Path("../shared/data"))
    prepare.add_argument("--out", type=Path, default=Path("out/real"))
    args = parser.parse_args(argv)
    try:
        for name in args.names:
            print(FLIGHTS[name](args.data, args.out / name))
    except TilefixError as error:
        print(f"evaluate_real: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
