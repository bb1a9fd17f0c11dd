"""`tilefix check-config`: whether configuration, map and model fit together, before anything flies."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

from tilefix.service.assembly import map_warnings, open_localizer
from tilefix.service.config import load_config


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tilefix check-config`."""
    parser.add_argument("config", type=Path, metavar="FILE", help="the flight's configuration, TOML")


def run(args: argparse.Namespace) -> int:
    """0 when they fit, with the warnings that a pilot would hear; raises what `tilefix run` would raise."""
    config = load_config(args.config)
    with open_localizer(config):
        warnings = map_warnings(config, datetime.datetime.now(datetime.timezone.utc).date())
    sys.stdout.writelines(f"Warning: {line}.\n" for line in warnings)
    sys.stdout.write(f"{args.config}: configuration, map and model fit together\n")
    return 0
