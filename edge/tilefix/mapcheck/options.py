"""The options of `tilefix map check` for what is drawn; light, for the command line to show its help quickly."""

from __future__ import annotations

import argparse
from pathlib import Path

DEFAULT_HFOV_DEG = 70.0
CRUISE_MPS = 15.0


def configure_drawing(parser: argparse.ArgumentParser) -> None:
    """Adds the options for what is drawn."""
    drawn = parser.add_argument_group("where fixes will be hard (drawn with --agl-m or --mission)")
    drawn.add_argument("--agl-m", type=float, help="height above ground of the frames, metres")
    drawn.add_argument("--out", type=Path, help="folder for check.html and check.json (default: MAP-check)")
    drawn.add_argument("--mission", type=Path, metavar="PLAN", help="a .plan of QGroundControl, or QGC WPL 110")
    drawn.add_argument(
        "--config", type=Path, metavar="FILE", help="the flight's configuration: camera, mount, coasting"
    )
    drawn.add_argument(
        "--hfov-deg", type=float, help=f"of a 4:3 camera without --config (default: {DEFAULT_HFOV_DEG:g})"
    )
    drawn.add_argument("--speed-mps", type=float, help=f"where the plan names none (default: {CRUISE_MPS:g})")
    drawn.add_argument("--ground-amsl-m", type=float, help="of the ground at home, for heights above sea level")


def drawing_wanted(args: argparse.Namespace) -> bool:
    """True when something is to be drawn."""
    return args.agl_m is not None or args.mission is not None
