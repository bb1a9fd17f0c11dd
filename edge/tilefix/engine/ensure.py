"""`tilefix engine ensure`: the engine that a configuration names, built where it is missing or fits no longer."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from tilefix.embedders import open_embedder
from tilefix.errors import ModelError


def configure_ensure(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `ensure`."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the flight's configuration, TOML")
    parser.set_defaults(engine_run=_ensure)


def _ensure(args: argparse.Namespace) -> int:
    from tilefix.service.config import load_config

    model = load_config(args.config).model
    if model.path is None or model.path.suffix != ".engine":
        sys.stdout.write(f"{args.config}: [model] names no engine, nothing to build\n")
        return 0
    built = ensure_engine(model.path, model.onnx, model.precision)
    sys.stdout.write(f"{model.path}: {'built' if built else 'fits this machine'}\n")
    return 0


def ensure_engine(engine: Path, onnx: Path | None, precision: str) -> bool:
    """Builds the engine of the ONNX model (`None`: the shipped one), unless the file there fits this machine.

    True when it was built. Raises `ModelError` when it cannot be; what was there before is then there still.
    """
    from tilefix.engine.build import build_engine

    try:
        with closing(open_embedder(engine)) as embedder, closing(open_embedder(onnx)) as source:
            if embedder.manifest.identity == source.manifest.identity:
                return False
    except ModelError as error:
        sys.stdout.write(f"{error}\n")
    engine.parent.mkdir(parents=True, exist_ok=True)
    build_engine(onnx, precision, engine, timing_cache=engine.with_name("timing.cache"))
    return True
