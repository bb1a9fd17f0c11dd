"""`tilefix engine`: quantize a model, build an engine of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tilefix.engine.buildcommand import configure_build, configure_inspect
from tilefix.engine.ensure import configure_ensure


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the commands and their options."""
    commands = parser.add_subparsers(dest="engine_command", required=True, metavar="COMMAND")
    _configure_quantize(commands.add_parser("quantize", help="an int8 ONNX file of a model, for every runtime"))
    configure_build(commands.add_parser("build", help="a TensorRT engine of a model, for this machine's GPU"))
    configure_ensure(commands.add_parser("ensure", help="build the engine that a configuration names, where need be"))
    configure_inspect(commands.add_parser("inspect", help="what an engine was built for, and its layers"))


def _configure_quantize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="name or path of the FP32 model (default: the shipped one)")
    parser.add_argument(
        "--calibration",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="map packages, flight folders or folders of pictures of the kind that will be flown over",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write (default: NAME-int8.onnx)")
    parser.add_argument("--patches", type=int, default=256, metavar="N", help="to calibrate with (default 256)")
    parser.set_defaults(engine_run=_quantize)


def run(args: argparse.Namespace) -> int:
    """Runs one of the commands; raises `TilefixError`."""
    return int(args.engine_run(args))


def _quantize(args: argparse.Namespace) -> int:
    from tilefix.embedders import open_model_files
    from tilefix.engine.calibration import read_patches
    from tilefix.engine.heldout import held_out_worlds
    from tilefix.engine.quantize import quantize, summary
    from tilefix.errors import ModelError
    from tilefix.mapbuild.command import ProgressLine

    if not 8 <= args.patches <= 100_000:
        raise ModelError(f"--patches {args.patches} is out of range", mend="give 8 to 100000")
    manifest, _ = open_model_files(args.model)
    patches = read_patches(args.calibration, manifest, count=args.patches)
    progress = ProgressLine()
    try:
        progress("generating held-out maps", 0.0)
        result = quantize(args.model, patches, args.out, held_out=held_out_worlds(manifest), progress=progress)
    finally:
        progress.end()
    sys.stdout.write(summary(result) + "\n")
    return 0
