"""The `tilefix-train` command: fit, evaluate, export."""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tilefix import __version__
from tilefix.errors import ConfigError, TilefixError

NEEDED = ("torch", "safetensors", "sklearn", "scipy", "onnx", "onnxscript")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; 0 when it worked, 2 with one clear line on standard error when it could not."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
            raise ConfigError(
                f"{', '.join(missing)} is not installed", mend="pip install 'tilefix[train]', or make setup"
            )
        return int(args.run(args))
    except TilefixError as error:
        print(f"tilefix-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tilefix-train", description="Train tilefix's network without pairs.")
    parser.add_argument("--version", action="version", version=f"tilefix-train {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser(
        "fit", help="train a network", description="Train a network; the checkpoint goes to `out`."
    )
    fit.add_argument("config", type=Path, help="TOML file, see training/configs")
    fit.add_argument("--resume", action="store_true", help="go on after the last finished epoch")
    fit.set_defaults(run=_fit)

    export = commands.add_parser("export", help="checkpoint to ONNX", description="Write NAME.onnx and NAME.json.")
    export.add_argument("checkpoint", type=Path, help="last.safetensors of a run")
    export.add_argument("--out", type=Path, required=True, help="folder")
    export.add_argument("--name", help="name of the model; that of the run unless given")
    export.set_defaults(run=_export)

    evaluate = commands.add_parser(
        "evaluate",
        help="localise on generated worlds",
        description="Search drone patches on dense maps of other worlds.",
    )
    evaluate.add_argument("--model", default="default", help="shipped name, .onnx or .json; %(default)s unless given")
    evaluate.add_argument("--worlds", default="1000:1004", help="seeds FIRST:LAST, both included; %(default)s")
    evaluate.add_argument("--patch-m", type=float, default=120.0, help="metres across a patch; %(default)s")
    evaluate.add_argument("--size-m", type=float, default=1200.0, help="metres across a world; %(default)s")
    evaluate.add_argument("--queries", type=int, default=60, help="per world; %(default)s")
    evaluate.add_argument("--out", type=Path, help="write the figures as JSON too")
    evaluate.set_defaults(run=_evaluate)
    return parser


def _fit(args: argparse.Namespace) -> int:
    from tilefix_training.config import load_config
    from tilefix_training.train import fit

    print(fit(load_config(args.config), resume=args.resume))
    return 0


def _export(args: argparse.Namespace) -> int:
    from tilefix_training.network.checkpoint import load_checkpoint, load_network
    from tilefix_training.network.export import export_onnx

    checkpoint = load_checkpoint(args.checkpoint)
    run = checkpoint.run
    manifest = export_onnx(
        load_network(checkpoint, args.checkpoint),
        args.out,
        name=args.name or str(run["name"]),
        patch_px=int(run["patch_px"]),
        patch_m_min=float(run["patch_m_min"]),
        patch_m_max=float(run["patch_m_max"]),
        trained_on=tuple(run["trained_on"]),
    )
    print(args.out / manifest.file)
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    import torch

    from tilefix.embedders import open_embedder
    from tilefix_training.evaluation.dense import score, world_case
    from tilefix_training.evaluation.descriptors import thumbnail
    from tilefix_training.network.backbone import Backbone, BackboneConfig
    from tilefix_training.network.features import describe

    try:
        first, last = (int(part) for part in args.worlds.split(":"))
    except ValueError as error:
        raise ConfigError(f"--worlds {args.worlds!r} is not FIRST:LAST", mend="such as 1000:1004") from error
    if not (0 <= first <= last < first + 1000 and args.queries >= 1 and 1.0 <= args.patch_m <= args.size_m / 2):
        raise ConfigError("--worlds, --queries or --patch-m is out of range", mend="patch at most half the world")
    embedder = open_embedder(args.model)
    manifest = embedder.manifest
    manifest.check_patch_m(args.patch_m, "--patch-m")
    cases = [
        world_case(seed, patch_m=args.patch_m, size_m=args.size_m, queries=args.queries, patch_px=manifest.patch_px)
        for seed in range(first, last + 1)
    ]
    torch.manual_seed(0)
    shape = BackboneConfig()
    grid = max(1, math.isqrt(manifest.descriptor_dim // shape.descriptor_dim))
    untrained = Backbone(replace(shape, pool_grid=grid)).eval()
    scores = {
        manifest.name: score(cases, embedder.embed),
        "untrained": score(cases, lambda patches, masks: describe(untrained, patches, masks, manifest)),
        "thumbnail": score(cases, thumbnail),
    }
    print(f"{scores[manifest.name].queries} queries, {len(cases[0].tiles)} tiles a map")
    for name, value in scores.items():
        print(f"{name:<12} {value.text()}")
    if args.out is not None:
        partial = args.out.with_name(args.out.name + ".partial")
        partial.write_text(json.dumps({name: asdict(value) for name, value in scores.items()}, indent=2) + "\n")
        partial.replace(args.out)
    return 0
