"""`tilefix engine build` and `tilefix engine inspect`: an engine for this machine, and what it is made of."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

CHECK_PATCHES = 256


def configure_build(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `build`."""
    parser.add_argument("--model", help="name or path of the .onnx model (default: the shipped one)")
    parser.add_argument("--precision", choices=("fp16", "int8"), required=True, help="int8: of a quantized model")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .engine file to write")
    parser.add_argument(
        "--timing-cache", type=Path, metavar="FILE", help="timings of kernels, kept from build to build on this machine"
    )
    parser.add_argument(
        "--check-data",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="map packages, flight folders or folders of pictures to check descriptors on too",
    )
    parser.set_defaults(engine_run=_build)


def configure_inspect(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `inspect`."""
    parser.add_argument("engine", type=Path, metavar="FILE", help="an .engine file of this machine")
    parser.add_argument("--layers", action="store_true", help="each layer, not only how many there are of a kind")
    parser.set_defaults(engine_run=_inspect)


def _build(args: argparse.Namespace) -> int:
    from tilefix.embedders import open_model_files
    from tilefix.engine.build import build_engine
    from tilefix.engine.calibration import read_patches

    manifest, _ = open_model_files(args.model)
    patches = read_patches(args.check_data, manifest, count=CHECK_PATCHES) if args.check_data else None
    built = build_engine(args.model, args.precision, args.out, timing_cache=args.timing_cache, patches=patches)
    made = built.fingerprint
    sys.stdout.write(
        f"{args.out}: {built.size_bytes / 2**20:.1f} MiB in {built.build_s:.0f} s, {made.runtime} "
        f"{made.runtime_version} for {made.gpu} ({made.compute_capability})\n"
        f"  against the FP32 model: {built.agreement}\n"
    )
    return 0


def _inspect(args: argparse.Namespace) -> int:
    from tilefix.embedders import open_model_files
    from tilefix.embedders.tensorrt import TensorRTEmbedder
    from tilefix.engine.fingerprint import read_fingerprint
    from tilefix.engine.layers import layer_table, layers_of_inspector

    manifest, file = open_model_files(args.engine)
    made = read_fingerprint(file)
    with TensorRTEmbedder(manifest, file) as embedder:
        layers = layers_of_inspector(embedder.describe())
    machine = f"{made.gpu} ({made.compute_capability})" + (f", Jetson Linux {made.l4t}" if made.l4t else "")
    sys.stdout.write(
        f"{file}: {made.precision} of {Path(made.model).name}, {made.runtime} {made.runtime_version}, "
        f"CUDA {made.cuda}, {machine}\n{layer_table(layers)}\n"
    )
    if args.layers:
        sys.stdout.writelines(
            f"{one.precision:5}  {one.kind:16}  {one.name}: {' '.join(one.takes)} -> {' '.join(one.gives)}\n"
            for one in layers
        )
    return 0
