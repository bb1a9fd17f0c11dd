"""Trains on generated drone and satellite pictures with parts of the method switched on and off, and compares.

Each run is a variant and a data set (by its seed, which is also the run's); it writes one JSON file, and goes on after
its last finished epoch when it was cut short. Test pictures are looked at after every epoch but choose nothing: the
last epoch counts, and the report shows how far it is from the best.

    tilefix-train fit training/configs/initial.toml
    python tools/ablate.py run --seeds 9000 9001 9002 --jobs 2
    python tools/ablate.py report
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilefix.errors import ConfigError, TilefixError
from tilefix.evaluation.results import write_results

if TYPE_CHECKING:
    from tilefix_training.config import FitConfig

BASE = Path(__file__).parents[1] / "training" / "configs" / "ablation.toml"
PARTS = ("dhml", "icel", "ple")
VIEWS, PLACES, TEST_PLACES, DISTRACTORS, PX = 12, 200, 200, 100, 96
HEADING_DEG = 20.0  # of the drone views, either side of north: what rectifying by a compass leaves

# What a preset needs to run at this size. Published: as many copies of a satellite as a place has drone views, its
# phases in the same parts of a shorter run. Both: a rate for this network and few steps, chosen on data set 1000.
PRESETS: dict[str, dict[str, Any]] = {
    "published": {
        "satellite.copies": VIEWS,
        "optimiser.learning_rate": 5e-4,
        "dhml.until_epoch": 8,
        "icel.cross_epoch": 4,
        "ple.epoch": 8,
    },
    "tilefix": {"patches.mirrored": True, "patches.mask_p": 0.0, "optimiser.learning_rate": 1e-3},
}


# Groups of values in which the presets differ: "published<augment" is published with those of tilefix in their place.
GROUPS: dict[str, tuple[str, ...]] = {
    "augment": ("patches.augment", "patches.mirrored", "patches.mask_p"),
    "optimiser": tuple(
        f"optimiser.{key}" for key in ("kind", "learning_rate", "weight_decay", "decay_all", "schedule", "clip")
    ),
    "classes": ("satellite.labels", "satellite.copies", "cluster.centroids", "cluster.flip"),
    "memory": ("contrast.momentum_first", "contrast.momentum", "contrast.weight"),
    "parts": ("dhml.", "icel.", "ple."),
}


def variants() -> dict[str, dict[str, Any]]:
    """The changes of each variant, by its name: a preset with no part, one part, or all of them, and `published` with a
    group of the values of `tilefix`."""
    found: dict[str, dict[str, Any]] = {}
    for preset, changes in PRESETS.items():
        chosen = {"baseline": (), **{f"+{part}": (part,) for part in PARTS}, "all": PARTS}
        for name, parts in chosen.items():
            switches = {f"{part}.enabled": part in parts for part in PARTS}
            found[f"{preset}:{name}"] = {"run.preset": preset, **changes, **switches}
    other = _values(found["tilefix:all"])
    for group, names in GROUPS.items():
        taken = {key: value for key, value in other.items() if key.startswith(names)}
        found[f"published<{group}"] = {**found["published:all"], **taken}
    return found


def checked(names: Sequence[str]) -> Sequence[str]:
    """The names; raises `ConfigError` when one is of no variant."""
    known = variants()
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"{', '.join(unknown)} is no variant", mend=f"one of {', '.join(known)}")
    return names


def _values(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Every value of a configuration, by "section.key"."""
    from tilefix_training.config import load_config

    resolved = load_config(BASE, changes).json()
    return {f"{section}.{key}": value for section, items in resolved.items() for key, value in items.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; 2 with one clear line on standard error for bad arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="train; runs that are finished are left as they are")
    run.add_argument(
        "variants",
        nargs="*",
        help="such as tilefix:all or published<augment; every part of both presets unless given",
    )
    run.add_argument("--seeds", type=int, nargs="+", default=[9000, 9001, 9002], help="of the data sets")
    run.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a value (JSON)")
    run.add_argument("--suffix", default="", help="of the variants' names, for runs with changed values")
    run.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    run.add_argument("--out", type=Path, default=Path("out/ablation"))
    run.set_defaults(run=_run)
    report = commands.add_parser("report", help="a table of the finished runs")
    report.add_argument("--out", type=Path, default=Path("out/ablation"))
    report.set_defaults(run=_report)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return int(args.run(args))
    except TilefixError as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    from tilefix_training.config import read_changes

    known = variants()
    changes = read_changes(args.set)
    names = checked(args.variants) or [name for name in known if "<" not in name]
    jobs = [(name, seed) for seed in args.seeds for name in names]
    for seed in args.seeds:
        _data(args.out, seed)
    if args.jobs == 1 or len(jobs) == 1:
        for name, seed in jobs:
            train(name + args.suffix, {**known[name], **changes}, seed, args.out)
        return 0
    return _in_parallel(args, jobs)


def _in_parallel(args: argparse.Namespace, jobs: list[tuple[str, int]]) -> int:
    """Each run in a process of its own, `args.jobs` at a time; the worst exit status."""
    shared = ["--out", str(args.out), f"--suffix={args.suffix}", *(f"--set={text}" for text in args.set)]
    running: list[subprocess.Popen[bytes]] = []
    waiting, worst = list(jobs), 0
    while waiting or running:
        while waiting and len(running) < args.jobs:
            name, seed = waiting.pop(0)
            running.append(subprocess.Popen([sys.executable, __file__, "run", name, "--seeds", str(seed), *shared]))
        done = [process for process in running if process.poll() is not None]
        running = [process for process in running if process not in done]
        worst = max([worst, *(abs(process.returncode) for process in done)])
        time.sleep(0.2)
    return worst


def _data(out: Path, seed: int) -> Path:
    """The data set of a seed, generated once."""
    from tilefix_training.data.generated import Tours, write_dataset

    return write_dataset(
        out / "data" / str(seed),
        seed=seed,
        places=PLACES,
        views=VIEWS,
        test_places=TEST_PLACES,
        distractors=DISTRACTORS,
        px=PX,
        tours=Tours(heading_deg=HEADING_DEG),
    )


def configured(name: str, changes: Mapping[str, Any], seed: int, out: Path) -> FitConfig:
    """The configuration of a variant's run on the data set of a seed."""
    from tilefix_training.config import load_config

    source = [{"kind": "dataset", "dataset": "university-1652", "folder": str(_data(out, seed))}]
    return load_config(
        BASE,
        {
            "run.seed": seed,
            "run.out": str(out / "runs" / f"{name.replace(':', '-').replace('<', '-with-')}-{seed}"),
            "drone.sources": source,
            "satellite.sources": source,
            **changes,
        },
    )


def train(name: str, changes: Mapping[str, Any], seed: int, out: Path) -> None:
    """One run, from where it stands; its JSON is written when it is finished."""
    from tilefix_training.network.checkpoint import load_checkpoint, load_network
    from tilefix_training.state import CHECKPOINT, LOG
    from tilefix_training.train import fit

    config = configured(name, changes, seed, out)
    folder, data = config.out, _data(out, seed)
    result = out / f"{folder.name}.json"
    if result.exists():
        return
    scores_file, last_state = folder / "scores.jsonl", folder / CHECKPOINT
    scored: list[dict[str, Any]] = []
    if last_state.exists() and scores_file.exists():
        scored = [json.loads(line) for line in scores_file.read_text().splitlines()]

    def look(epoch: int, network: Any, _: dict[str, Any]) -> None:
        scored.append({"epoch": epoch, **scores(network, data, config.patches.patch_px)})
        write_results(folder, {scores_file.name: "".join(json.dumps(item) + "\n" for item in scored)})
        last = scored[-1]["drone_to_satellite"]
        logging.info(
            "%s: epoch %d: R@1 %.1f full, %.1f matched", result.stem, epoch, 100 * last["full"], 100 * last["matched"]
        )

    if last_state.exists():
        checkpoint = load_checkpoint(last_state)
        if checkpoint.epoch - 1 not in [item["epoch"] for item in scored]:  # cut short before it was looked at
            look(checkpoint.epoch - 1, load_network(checkpoint, last_state), {})
    fit(config, resume=True, after_epoch=look)
    by_epoch = {item["epoch"]: item for item in scored}
    rows = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    found = {"variant": name, "seed": seed, "config": config.json()}
    found["epochs"] = [{**row, "test": by_epoch.get(row["epoch"])} for row in rows]
    write_results(out, {result.name: json.dumps(found, indent=1) + "\n"})


def scores(network: Any, data: Path, patch_px: int) -> dict[str, Any]:
    """R@1 and AP of both directions and both galleries."""
    from tilefix_training.evaluation.descriptors import describe_with
    from tilefix_training.evaluation.identities import DIRECTIONS, retrieval_split
    from tilefix_training.evaluation.retrieval import evaluate_splits

    splits = {direction: retrieval_split("university-1652", data, direction) for direction in DIRECTIONS}
    found: dict[str, Any] = {}
    for direction, score in evaluate_splits(describe_with(network, patch_px), splits, patch_px).items():
        found[direction] = {
            "full": score.full.recall[1],
            "matched": score.matched.recall[1],
            "full_ap": score.full.ap,
            "matched_ap": score.matched.ap,
        }
    return found


def _report(args: argparse.Namespace) -> int:
    results = [json.loads(path.read_text()) for path in sorted(args.out.glob("*.json"))]
    if not results:
        raise ConfigError("no finished run", where=args.out, mend="python tools/ablate.py run")
    from tilefix_training.evaluation import selection

    print(table(results))
    print("\nAgainst the preset without any part, on the same data set, points of R@1:")
    print(effects(results))
    print("\nWhat choosing an epoch without labels costs, drone to satellite, R@1 of the full gallery:")
    print(selection.table([chosen(result["epochs"]) for result in results]))
    return 0


def chosen(epochs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The epoch that each rule takes. An epoch begins by describing what the one before made: so its criteria are
    that one's, and the last epoch has none."""
    from tilefix_training.evaluation.selection import selections

    criteria = [epoch.get("criteria") for epoch in epochs[1:]] + [None]
    return selections(criteria, [epoch["test"]["drone_to_satellite"]["full"] for epoch in epochs])


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Mean and spread (lowest to highest) over the seeds: R@1 of the last epoch, percent, and of the best by test."""
    lines = [
        f"{'variant':<24} seeds  D>S full            D>S matched         S>D full  S>D matched  best epoch  clusters"
    ]
    names = list(dict.fromkeys(result["variant"] for result in results))
    for name in sorted(names, key=lambda one: list(variants()).index(one) if one in variants() else 99):
        runs = [result for result in results if result["variant"] == name]
        last = [run["epochs"][-1] for run in runs]
        cells = [_spread([one["test"]["drone_to_satellite"][key] for one in last]) for key in ("full", "matched")]
        back = [np.mean([one["test"]["satellite_to_drone"][key] for one in last]) for key in ("full", "matched")]
        best = np.mean([max(e["test"]["drone_to_satellite"]["full"] for e in run["epochs"]) for run in runs])
        clusters = np.mean([one["clusters"]["drone"] for one in last])
        lines.append(
            f"{name:<24} {len(runs):>5}  {cells[0]:<20}{cells[1]:<20}{100 * back[0]:>8.1f}  {100 * back[1]:>11.1f}"
            f"  {100 * best:>10.1f}  {clusters:>8.0f}"
        )
    return "\n".join(lines)


def effects(results: Sequence[Mapping[str, Any]]) -> str:
    """What each variant gains on its preset's baseline, and the preset `tilefix` on `published`: mean and spread
    (lowest to highest) over the data sets that both were run on, drone to satellite, last epoch, both galleries."""
    runs = {
        (result["variant"], result["seed"]): result["epochs"][-1]["test"]["drone_to_satellite"] for result in results
    }
    names = [name for name in variants() if ":" in name and not name.endswith(":baseline")]
    pairs = [(name, f"{name.split(':')[0]}:baseline") for name in names]
    pairs += [(f"tilefix:{name}", f"published:{name}") for name in ("baseline", "all")]
    lines = [f"{'variant':<20}{'against':<22}seeds  full                matched"]
    for name, other in pairs:
        seeds = [seed for variant, seed in runs if variant == name and (other, seed) in runs]
        if not seeds:
            continue
        gains = [[runs[name, seed][key] - runs[other, seed][key] for seed in seeds] for key in ("full", "matched")]
        lines.append(f"{name:<20}{other:<22}{len(seeds):>5}  {_spread(gains[0]):<20}{_spread(gains[1])}")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{100 * np.mean(values):.1f} ({100 * min(values):.1f} to {100 * max(values):.1f})"


if __name__ == "__main__":
    sys.exit(main())
