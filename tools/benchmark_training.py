"""Measures how fast a training step runs here, beside the two things that bound it: arithmetic and reading pictures.

Three rates in pictures a second, of the same batches in one run, each turn about: the pictures made ready and nothing
else; the network forward, backward and stepped on a batch that is there already; and both together as a run does
them. The share of a ceiling is the third over the other two.

    python tools/benchmark_training.py                                    # ConvNeXt-Tiny at 384 px, bfloat16
    python tools/benchmark_training.py --backbone tilefix-xs --px 64 --batch 96 --batches 8
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from machine import facts_of_this_machine, report
from tilefix.errors import ConfigError

# University-1652 as DMNIL trains on it: pictures a training epoch, and pictures described once in each.
TRAINED, DESCRIBED = 400 * 192, 37854 + 701
EPOCHS = 24
SOURCE_PX = 512


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table and writes the figures; 2 with one clear line on standard error for bad arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="convnext-tiny")
    parser.add_argument("--px", type=int, default=384)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--batches", type=int, default=20, help="that are counted, in each of the rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="that read pictures; one a core unless given")
    parser.add_argument("--augment", choices=("tilefix", "published"), default="tilefix")
    parser.add_argument("--fp32", action="store_true", help="without mixed precision")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("out/bench/training.json"))
    args = parser.parse_args(argv)
    return report("benchmark_training", args.out, lambda: measure(args), text)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Rates (pictures a second, of each round), shares of the ceilings, and hours of a whole run.

    Raises `ConfigError` for arguments out of range.
    """
    if min(args.batch, args.batches, args.rounds) < 1 or args.px % 32 or not 32 <= args.px <= 512:
        raise ConfigError("--batch, --batches, --rounds or --px is out of range", mend="px: a multiple of 32")
    import os

    import torch

    from tilefix_training.data.augment import AugmentSettings, augmenter
    from tilefix_training.data.images import FolderImages
    from tilefix_training.data.loader import Draw, Loader
    from tilefix_training.data.published_augment import published_augmenter
    from tilefix_training.distributed import processes
    from tilefix_training.network.build import build, network_config
    from tilefix_training.network.export import preprocessing
    from tilefix_training.network.features import extract, network_input

    threads = args.threads or os.cpu_count() or 1
    with processes(args.device) as world, tempfile.TemporaryDirectory() as folder:
        on_gpu = world.device.type == "cuda"
        network = build(network_config(args.backbone))
        network = network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5)
        manifest = preprocessing(args.px, network.descriptor_dim)
        images = FolderImages(_pictures(Path(folder)), SOURCE_PX, "benchmark", threads=threads, keep_bytes=0)
        way = published_augmenter(args.px)
        if args.augment == "tilefix":
            way = augmenter(args.px, AugmentSettings(margin=1.0, mirrored=True))
        rng = np.random.default_rng(0)

        def plan() -> Iterator[list[Draw]]:
            for number in range(args.batches):
                yield [Draw(images, rng.integers(0, len(images), args.batch), way, (number,))]

        def step(values: torch.Tensor) -> None:
            with torch.autocast(world.device.type, torch.bfloat16, enabled=not args.fp32):
                found = network(values)
            loss = (found @ found.detach().T).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        def timed(work: Callable[[], None]) -> float:
            started = time.perf_counter()
            work()
            if on_gpu:
                torch.cuda.synchronize()
            return float(args.batch * args.batches / (time.perf_counter() - started))

        with Loader(threads) as loader:
            first = next(iter(loader.batches(plan())))[0]
            ready = network_input(first[0], first[1], manifest, world.device)
            step(ready)

            def read() -> None:
                for _ in loader.batches(plan()):
                    pass

            def compute() -> None:
                for _ in range(args.batches):
                    step(ready)

            def both() -> None:
                for batch in loader.batches(plan()):
                    step(network_input(batch[0][0], batch[0][1], manifest, world.device))

            works = {"reading": read, "arithmetic": compute, "training": both}
            rates: dict[str, list[float]] = {name: [] for name in works}
            for _ in range(args.rounds):
                for name, work in works.items():
                    rates[name].append(timed(work))
        started = time.perf_counter()
        extract(network, images, manifest, margin=1.0, bfloat16=not args.fp32 and on_gpu, threads=threads)
        described = len(images) / (time.perf_counter() - started)
        peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None
    middle = {name: statistics.median(values) for name, values in rates.items()}
    hours = EPOCHS * (TRAINED / middle["training"] + DESCRIBED / described) / 3600.0
    return {
        "machine": {**facts_of_this_machine(), "device": str(world.device), "torch": torch.__version__},
        "options": {key: str(value) for key, value in vars(args).items()},
        "reading_threads": threads,
        "pictures_per_s": rates,
        "described_per_s": described,
        "share_of_arithmetic": middle["training"] / middle["arithmetic"],
        "share_of_reading": middle["training"] / middle["reading"],
        "hours_of_24_epochs_on_university_1652": hours,
        "peak_device_gib": peak,
    }


def _pictures(folder: Path) -> list[Path]:
    """JPEG files of the size of University-1652's, with as much in them as pictures have."""
    rng = np.random.default_rng(1)
    paths = []
    for number in range(64):
        coarse = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (SOURCE_PX, SOURCE_PX), interpolation=cv2.INTER_CUBIC)
        paths.append(folder / f"{number:02d}.jpg")
        cv2.imwrite(str(paths[-1]), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


def text(found: dict[str, Any]) -> str:
    """The figures as people read them."""
    lines = [f"{found['machine']['device']}, {found['reading_threads']} reading threads"]
    for name, values in found["pictures_per_s"].items():
        lines.append(
            f"{name:<11} {statistics.median(values):8.1f} pictures/s  ({min(values):.1f} to {max(values):.1f})"
        )
    lines.append(f"describing  {found['described_per_s']:8.1f} pictures/s")
    lines.append(f"training reaches {100 * found['share_of_arithmetic']:.0f} % of the arithmetic's rate and ")
    lines[-1] += f"{100 * found['share_of_reading']:.0f} % of the reading's"
    hours = found["hours_of_24_epochs_on_university_1652"]
    lines.append(f"{EPOCHS} epochs on University-1652: {hours:.1f} h, clustering not counted")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
