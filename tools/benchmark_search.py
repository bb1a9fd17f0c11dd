"""Measures the search over many tiles beside one read of their descriptors from memory, in turn, in one run.

Descriptors are drawn at random around clusters, as tiles of a landscape lie; queries are tiles with noise. Codes of
half and of quarter size are searched through faiss and scored by how many of the exact ten best they give.

    python tools/benchmark_search.py                                  # 1 million tiles of 1024 numbers: 4 GiB
    python tools/benchmark_search.py --tiles 100000
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

import sensors
from latency_floor import Pair, timed
from machine import facts_of_this_machine, report
from tilefix.errors import TilefixError
from tilefix.maps.tileindex import TileIndex
from tilefix.types import Float32Array, IntArray

SEED = 1500
STRIDE_M = 40.0
CLUSTERS = 512
CHUNK = 1 << 15
BEST = 10
# faiss' name of each code, and its bytes a number
CODES = {"fp16": (faiss.ScalarQuantizer.QT_fp16, 2), "int8": (faiss.ScalarQuantizer.QT_8bit_uniform, 1)}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    tiles: int
    dim: int
    repeats: int
    prior_m: float
    codes: tuple[str, ...]


def descriptors(first: int, count: int, dim: int) -> Float32Array:
    """Unit vectors, float32 (count, dim), the same for the same tile: a cluster's centre and the tile's own part."""
    centres = np.random.default_rng([SEED, 0]).standard_normal((CLUSTERS, dim), np.float32)
    rng = np.random.default_rng([SEED, 1, first])
    own = rng.standard_normal((count, dim), np.float32)
    own += centres[rng.integers(0, CLUSTERS, count)]
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    return own


def lattice_m(tiles: int) -> Float32Array:
    """Tile centres on a square map, row by row from the north-west."""
    across = math.isqrt(tiles - 1) + 1
    rows, columns = np.divmod(np.arange(tiles), across)
    return np.stack([columns * STRIDE_M, -rows * STRIDE_M], axis=1).astype(np.float32)


class Stored:
    """What `TileIndex` asks of faiss' flat index, over an array: a real one would hold it twice while it grows."""

    def __init__(self, options: Options) -> None:
        self.ntotal, self.d = options.tiles, options.dim
        self.array = np.empty((options.tiles, options.dim), np.float32)
        for first in range(0, options.tiles, CHUNK):
            part = self.array[first : first + CHUNK]
            part[:] = descriptors(first, len(part), options.dim)

    def get_xb(self) -> Any:
        """The pointer that faiss' functions take."""
        return faiss.swig_ptr(self.array)

    def reconstruct_n(self, first: int, count: int) -> Float32Array:
        """Stored descriptors."""
        return self.array[first : first + count]


def measure(options: Options) -> dict[str, Any]:
    """Everything measured, as it stands in the JSON file."""
    faiss.omp_set_num_threads(1)
    before = facts_of_this_machine()
    empty_mib, _ = sensors.memory_mib()
    _say(f"making {options.tiles} descriptors of {options.dim} numbers")
    stored = Stored(options)
    index = TileIndex(stored, lattice_m(options.tiles))
    full_mib, _ = sensors.memory_mib()
    rng = np.random.default_rng([SEED, 2])
    asked = rng.integers(0, options.tiles, options.repeats + 1)
    noise = rng.standard_normal((len(asked), options.dim), np.float32) * np.float32(0.5 / math.sqrt(options.dim))
    queries = np.concatenate([index.descriptors(int(tile), 1) for tile in asked]) + noise
    places: list[tuple[float, float]] = lattice_m(options.tiles)[asked].astype(np.float64).tolist()
    works: dict[str, Callable[[int], object]] = {
        "read": lambda _: stored.array.max(),
        "global": lambda k: index.search(queries[k], BEST),
        "similarities": lambda k: index.similarities(queries[k]),
        "near": lambda k: index.search_near(queries[k], BEST, *places[k], options.prior_m),
        "similarities near": lambda k: index.similarities_near(queries[k], *places[k], options.prior_m),
    }
    took: dict[str, list[Pair]] = {}
    codes: dict[str, dict[str, Any]] = {}
    _in_turn(works, took, options.repeats)
    exact = [{one.tile for one in index.search(query, BEST)} for query in queries]
    near = index.similarities_near(queries[0], *places[0], options.prior_m)[0]
    found = float(np.mean([int(tile) in best for tile, best in zip(asked, exact, strict=True)]))
    for name in options.codes:
        kind, size = CODES[name]
        _say(f"coding them as {name}")
        small = faiss.IndexScalarQuantizer(options.dim, kind, faiss.METRIC_INNER_PRODUCT)
        small.train(stored.array[:CHUNK])
        small.add(stored.array)  # at once: it then takes no more memory than its codes
        beside: dict[str, list[Pair]] = {}

        def coded(k: int, of: Any = small) -> object:
            return of.search(queries[k : k + 1], BEST)

        _in_turn({"read": works["read"], name: coded}, beside, options.repeats)
        answers: IntArray = small.search(queries, BEST)[1]
        shares = [len(best & set(map(int, row))) / BEST for best, row in zip(exact, answers, strict=True)]
        codes[name] = {
            "bytes": options.tiles * options.dim * size,
            "over_read": _ratio(beside, name, "read"),
            "of_exact_ten_best": round(float(np.mean(shares)), 4),
            **_times(beside[name]),
        }
        del small
    return {
        "machine": before,
        "tiles": options.tiles,
        "dim": options.dim,
        "descriptor_bytes": options.tiles * options.dim * 4,
        "prior_m": options.prior_m,
        "tiles_near_prior": len(near),
        "tile_found_again": found,
        "resident_mib": {"before": round(empty_mib), "with_index": round(full_mib)},
        "took": {name: _times(pairs) for name, pairs in took.items()},
        "ratios": {
            "global_over_read": _ratio(took, "global", "read"),
            "similarities_over_read": _ratio(took, "similarities", "read"),
            "near_over_global": _ratio(took, "near", "global"),
            "similarities_near_over_similarities": _ratio(took, "similarities near", "similarities"),
        },
        "codes": codes,
    }  # fmt: skip


def _in_turn(works: Mapping[str, Callable[[int], object]], took: dict[str, list[Pair]], repeats: int) -> None:
    """Runs all works in turn, so that all see the same machine; the first round is not counted."""
    for number in range(repeats + 1):
        for name, work in works.items():
            pair = timed(lambda of=work, k=number: of(k))
            if number:
                took.setdefault(name, []).append(pair)


def _times(pairs: Sequence[Pair]) -> dict[str, float]:
    wall, cpu = np.asarray(pairs).T
    return {
        "runs": len(pairs),
        "p50_ms": round(float(np.median(wall)), 4),
        "p50_cpu_ms": round(float(np.median(cpu)), 4),
        "least_ms": round(float(wall.min()), 4),
    }


def _ratio(took: Mapping[str, Sequence[Pair]], one: str, other: str) -> dict[str, float]:
    """Medians of the ratios within each round, wall and processor time."""
    pairs = np.asarray(took[one]) / np.asarray(took[other])
    wall, cpu = np.median(pairs, axis=0)
    return {"wall": round(float(wall), 5), "cpu": round(float(cpu), 5)}


def table(result: Mapping[str, Any]) -> str:
    """What a person reads."""
    ratios, memory = result["ratios"], result["resident_mib"]
    lines = [
        f"{result['tiles']} tiles of {result['dim']} numbers, {result['descriptor_bytes'] / 2**30:.2f} GiB; resident "
        f"{memory['with_index']} MiB with the index, {memory['before']} before",
        f"{'':<26}{'ms p50':>10}{'processor':>11}{'least':>10}",
        *(
            f"{name:<26}{one['p50_ms']:>10.2f}{one['p50_cpu_ms']:>11.2f}{one['least_ms']:>10.2f}"
            for name, one in result["took"].items()
        ),
        f"{'ratios':<44}{'wall':>10}{'processor':>11}",
        *(f"{name.replace('_', ' '):<44}{one['wall']:>10.4f}{one['cpu']:>11.4f}" for name, one in ratios.items()),
        f"{result['tiles_near_prior']} tiles within {result['prior_m']:g} m; the tile asked for is found again "
        f"{100.0 * result['tile_found_again']:.0f} % of the time",
    ]
    lines += [
        f"{name}: {one['bytes'] / 2**30:.2f} GiB, {one['over_read']['wall']:.2f} x the read of FP32 "
        f"({one['over_read']['cpu']:.2f} of processor time), {100.0 * one['of_exact_ten_best']:.1f} % of the ten best"
        for name, one in result["codes"].items()
    ]
    facts = result["machine"]
    return "\n".join([*lines, f"{facts['cpu']}, one thread, load {facts['load_before']} before"])


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the search over many tiles on this machine.")
    parser.add_argument("--json", type=Path, default=Path("out/bench/search.json"), help="the file to write")
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=1024, help="numbers of a descriptor")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--prior-m", type=float, default=1000.0, help="radius around a place")
    parser.add_argument("--codes", default=",".join(CODES), help="smaller codes to compare; empty for none")
    return parser.parse_args(argv)


def _options(args: argparse.Namespace) -> Options:
    codes = tuple(one for one in args.codes.split(",") if one)
    for name, value, low, high in (
        ("--tiles", args.tiles, 1000, 10_000_000),
        ("--dim", args.dim, 8, 4096),
        ("--repeats", args.repeats, 1, 1000),
        ("--prior-m", args.prior_m, 1.0, 1e6),
    ):
        if not low <= value <= high:
            raise TilefixError(f"{name} {value:g} is out of range", mend=f"give {low:g} to {high:g}")
    if unknown := [one for one in codes if one not in CODES]:
        raise TilefixError(f"no code {', '.join(unknown)}", mend=f"give some of {', '.join(CODES)}")
    return Options(args.tiles, args.dim, args.repeats, args.prior_m, codes)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table and writes the JSON file; 2 with one clear line when something is wrong."""
    args = _arguments(argv)
    return report("benchmark_search", args.json, lambda: measure(_options(args)), table)


def _say(line: str) -> None:
    print(f"benchmark_search: {line}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
