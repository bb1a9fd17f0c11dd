"""The `tilefix-train` command: fit, evaluate, adapt, export, generate."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tilefix import __version__
from tilefix.errors import ConfigError, TilefixError
from tilefix_training.evaluation import command

NEEDED = ("torch", "safetensors", "sklearn", "scipy", "onnx", "onnxscript")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; 0 when it worked, 2 with one clear line on standard error when it could not.

    Of several processes that torchrun started the first one talks; the others do only when they fail by themselves.
    """
    args = _parser().parse_args(argv)
    rank = os.environ.get("RANK", "0")
    level = logging.INFO if rank == "0" else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    who = "tilefix-train" if rank == "0" else f"tilefix-train, process {rank}"
    try:
        if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
            raise ConfigError(
                f"{', '.join(missing)} is not installed", mend="pip install 'tilefix[train]', or make setup"
            )
        return int(args.run(args))
    except TilefixError as error:
        print(f"{who}: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # such as a full disk
        print(f"{who}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tilefix-train", description="Train tilefix's network without pairs.")
    parser.add_argument("--version", action="version", version=f"tilefix-train {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser(
        "fit",
        help="train a network",
        description="Train a network; checkpoint and log go to the folder that the file names in [run] out.",
    )
    fit.add_argument("config", type=Path, help="TOML file, see training/configs")
    _training_arguments(fit)
    fit.set_defaults(run=_fit)

    export = commands.add_parser("export", help="checkpoint to ONNX", description="Write NAME.onnx and NAME.json.")
    export.add_argument("checkpoint", type=Path, help="last.safetensors of a run")
    export.add_argument("--out", type=Path, required=True, help="folder")
    export.add_argument("--name", help="name of the model; that of the run unless given")
    export.set_defaults(run=_export)

    evaluate = commands.add_parser(
        "evaluate", help="score a model", description="Score a model on worlds, a data set, or a flight over a map."
    )
    command.configure(evaluate)
    evaluate.set_defaults(run=command.run)

    adapt = commands.add_parser(
        "adapt",
        help="make a model better for one area",
        description="Train a model further on the map of an area and footage of it; no positions are needed.",
    )
    adapt.add_argument("--map", type=Path, required=True, help="map package of the area")
    adapt.add_argument(
        "--footage", type=Path, required=True, nargs="+", help="flight folders; FOLDER:FIRST:LAST takes these frames"
    )
    adapt.add_argument("--out", type=Path, required=True, help="folder for the run and the new model")
    adapt.add_argument("--model", default="default", help="what to start from; the shipped model unless given")
    adapt.add_argument("--score", type=Path, help="flight folder with positions, to score before and after")
    adapt.add_argument("--frames", metavar="FIRST:LAST", help="of --score; keep them out of --footage")
    adapt.add_argument("--stride-m", type=float, help="of the dense search of --score; an eighth of a patch")
    _training_arguments(adapt)
    adapt.set_defaults(run=_adapt)

    generate = commands.add_parser(
        "generate",
        help="write a generated data set",
        description="Write drone and satellite pictures of generated places, in University-1652's folders.",
    )
    generate.add_argument("out", type=Path, help="folder; one of the same numbers is left as it is")
    generate.add_argument("--seed", type=int, required=True, help="1000-1999 to choose by, from 9000 on to publish")
    generate.add_argument("--places", type=int, default=200, help="to train on; %(default)s")
    generate.add_argument("--views", type=int, default=12, help="drone views of a place; %(default)s")
    generate.add_argument("--test-places", type=int, default=200, help="%(default)s")
    generate.add_argument("--distractors", type=int, default=100, help="in the galleries only; %(default)s")
    generate.add_argument("--px", type=int, default=96, help="side of a picture; %(default)s")
    generate.set_defaults(run=_generate)
    return parser


def _training_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="a value in place of the file's, as JSON or plain text; null takes it out",
    )
    parser.add_argument("--resume", action="store_true", help="go on after the last finished epoch")


def _fit(args: argparse.Namespace) -> int:
    from tilefix_training.config import load_config, read_changes
    from tilefix_training.train import fit

    path = fit(load_config(args.config, read_changes(args.set)), resume=args.resume)
    if os.environ.get("RANK", "0") == "0":  # torchrun starts the command once a process
        print(path)
    return 0


def _generate(args: argparse.Namespace) -> int:
    from tilefix_training.data.generated import write_dataset

    print(
        write_dataset(
            args.out,
            seed=args.seed,
            places=args.places,
            views=args.views,
            test_places=args.test_places,
            distractors=args.distractors,
            px=args.px,
        )
    )
    return 0


def _adapt(args: argparse.Namespace) -> int:
    from tilefix_training.adapt import adapt
    from tilefix_training.config import read_changes

    print(
        adapt(
            args.map,
            args.footage,
            args.out,
            model=args.model,
            score=args.score,
            frames=args.frames,
            stride_m=args.stride_m,
            changes=read_changes(args.set),
            resume=args.resume,
        )
    )
    return 0


def _export(args: argparse.Namespace) -> int:
    from tilefix_training.network.checkpoint import load_checkpoint
    from tilefix_training.network.export import export_checkpoint

    print(export_checkpoint(load_checkpoint(args.checkpoint), args.checkpoint, args.out, name=args.name))
    return 0


def _process() -> None:
    """What torchrun starts: the command, and then the end of the process at once.

    The threads of gloo can abort an interpreter that takes its time to shut down, after all work is done.
    """
    try:
        status: object = main()
    except SystemExit as end:
        status = end.code
    if os.environ.get("WORLD_SIZE", "1") == "1":
        sys.exit(status)  # type: ignore[arg-type]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    _process()
