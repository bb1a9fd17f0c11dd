"""The `tilefix` command: a table of subcommands, each imported when it is called."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import threading
from collections.abc import Sequence

from tilefix import __version__
from tilefix.errors import TilefixError

# Subcommand -> (module with `configure(parser)` and `run(args) -> int`, what it does).
COMMANDS = {
    "demo": ("tilefix.simulation.demo", "fly a generated world without GNSS, nothing needed"),
    "map": ("tilefix.mapbuild.command", "build, fetch, inspect and check map packages"),
    "run": ("tilefix.service.runcommand", "fly: camera and autopilot in, position fixes out"),
    "check-config": ("tilefix.service.checkconfig", "check that configuration, map and model fit together"),
    "selftest": ("tilefix.service.selftest", "try engine, map, disk, camera and link on the ground"),
    "doctor": ("tilefix.doctor.command", "read the autopilot's parameters and tell or mend what is wrong for tilefix"),
    "engine": ("tilefix.engine.command", "quantize a model, build a TensorRT engine of it"),
    "calibrate": ("tilefix.calibration.command", "estimate mount, field of view, latency and map offset from a flight"),
    "update": ("tilefix.update.command", "install a version, map or model beside what runs, with a way back"),
    "flight": ("tilefix.flightlogs", "make a flight folder from a video and an autopilot log"),
    "link-key": ("tilefix.links.keycommand", "make the key of a signed MAVLink link"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; 0 when it worked, the error's status, with one clear line on standard error, when it could
    not."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="tilefix", description="Position fixes without GNSS.")
    parser.add_argument("--version", action="version", version=f"tilefix {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:
            importlib.import_module(module).configure(subparser)
    args = parser.parse_args(arguments)
    try:
        return int(importlib.import_module(COMMANDS[args.command][0]).run(args))
    except TilefixError as error:
        print(f"tilefix: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def entry() -> int:
    """The console script: `main`, and an end also while a library still holds a thread (a frame is being looked at):
    the interpreter's own end would abort that thread, and the process with it."""
    status = main()
    if any(thread.daemon for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status
