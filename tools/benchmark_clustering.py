"""Measures what clustering descriptors costs: the sparse one of training beside a dense one, on planted places.

Each runs in a process of its own, so that its peak of memory is its own. The dense one is written straight from the
published equations (Zhong et al., arXiv 1701.08398) with full N x N matrices; where these do not fit into memory, or
the time is up, the reason stands in place of its figures. Both get the same descriptors and must find the same labels.

    python tools/benchmark_clustering.py
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from machine import facts_of_this_machine, report
from tilefix.errors import TilefixError
from tilefix.types import Float32Array, IntArray
from tilefix_training.method.cluster import OUTLIER, cluster_labels

SEED = 1700
LATENT = 64  # dimensions in which places differ: as in trained descriptors far fewer than the numbers of a row
STRAY = 0.03  # share of the images that show no place
DENSE_MATRICES = 3.9  # N x N of 4 bytes that the dense one holds at its peak, as measured with 10,800
SHARE_OF_MEMORY = 0.7  # of what is free
WAYS = ("sparse", "dense")
LIBRARIES = ("torch", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Scene:
    """The descriptors and how they are clustered. `spread`: length of an image's own part beside its place's."""

    count: int
    dim: int
    images_per_place: int
    spread: float
    k1: int
    k2: int
    eps: float
    min_samples: int
    seed: int = SEED


def planted(scene: Scene) -> tuple[Float32Array, IntArray]:
    """L2-normalised descriptors (n, d) of places in mixed order, and their place; strays have one each of their own."""
    rng = np.random.default_rng([scene.seed, scene.count])
    places = -(-scene.count // scene.images_per_place)
    truth = rng.permutation(np.repeat(np.arange(places), scene.images_per_place)[: scene.count])
    look = rng.standard_normal((places, LATENT), np.float32)[truth]
    own = rng.standard_normal((scene.count, LATENT), np.float32)
    stray = rng.random(scene.count) < STRAY
    latent = np.where(stray[:, None], 0.0, look) + scene.spread * own
    basis = rng.standard_normal((LATENT, scene.dim), np.float32)
    features = (latent @ basis).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    truth[stray] = places + np.arange(stray.sum())
    return features, truth


def dense_labels(features: Float32Array, scene: Scene) -> IntArray:
    """The same labels with N x N matrices, a sample at a time."""
    count = len(features)
    k1, k2 = min(scene.k1, count - 1), min(scene.k2, count)
    similarity = features @ features.T
    np.fill_diagonal(similarity, np.inf)
    ranking = np.empty((count, max(k1 + 1, k2)), np.int64)
    for i, row in enumerate(similarity):
        best = np.argpartition(-row, ranking.shape[1] - 1)[: ranking.shape[1]]
        ranking[i] = best[np.argsort(-row[best], kind="stable")]
    np.fill_diagonal(similarity, 1.0)

    def reciprocal(i: int, k: int) -> IntArray:
        near = ranking[i, : k + 1]
        return np.asarray(near[(ranking[near, : k + 1] == i).any(axis=1)])

    narrow = [reciprocal(i, max(1, round(k1 / 2))) for i in range(count)]
    encoding = np.zeros((count, count), np.float32)
    for i in range(count):
        own = reciprocal(i, k1)
        inside = [len(np.intersect1d(narrow[j], own, assume_unique=True)) for j in own]
        alike = [narrow[j] for j, shared in zip(own, inside, strict=True) if 3 * shared > 2 * len(narrow[j])]
        together = np.unique(np.concatenate([own, *alike]))
        weight = np.exp(2.0 * similarity[i, together] - 2.0)
        encoding[i, together] = weight / weight.sum()
    del similarity
    if k2 > 1:
        averaged = np.empty_like(encoding)
        for i in range(count):
            averaged[i] = encoding[ranking[i, :k2]].mean(axis=0)
        encoding = averaged
        del averaged
    holders = [np.flatnonzero(encoding[:, j]) for j in range(count)]
    distance = np.empty((count, count), np.float32)
    for i in range(count):
        shared = np.zeros(count, np.float32)
        for j in np.flatnonzero(encoding[i]):
            shared[holders[j]] += np.minimum(encoding[i, j], encoding[holders[j], j])
        distance[i] = np.clip(1.0 - shared / (2.0 - shared), 0.0, 1.0)
    del encoding
    found = DBSCAN(eps=scene.eps, min_samples=scene.min_samples, metric="precomputed").fit_predict(distance)
    return np.asarray(found, np.int64)


def measure_here(way: str, scene: Scene, labels_file: Path) -> dict[str, Any]:
    """Clusters in this process and writes the labels; time and peak memory, that of the descriptors included."""
    features, truth = planted(scene)
    before = _peak_mib()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    if way == "sparse":
        labels = cluster_labels(features, k1=scene.k1, k2=scene.k2, eps=scene.eps, min_samples=scene.min_samples)
    else:
        labels = dense_labels(features, scene)
    took, took_cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    peak = _peak_mib()
    np.save(labels_file, labels)
    # Outliers count as clusters of one: to leave out a stray is right, to leave out an image of a place is not.
    alone = np.where(labels == OUTLIER, labels.max() + 1 + np.arange(len(labels)), labels)
    return {
        "seconds": round(took, 2),
        "cpu_seconds": round(took_cpu, 2),  # of all threads: what a busy machine does not change much
        "peak_mib": round(peak),
        "peak_mib_before": round(before),
        "clusters": int(labels.max()) + 1,
        "outliers": int((labels == OUTLIER).sum()),
        "ari": round(float(adjusted_rand_score(truth, alone)), 4),
    }


def measure(way: str, scene: Scene, labels_file: Path, threads: int, limit_s: float) -> dict[str, Any]:
    """Figures of a process of its own, or why there are none."""
    if way == "dense":
        needed, free = DENSE_MATRICES * 4 * scene.count**2, _free_bytes()
        if needed > SHARE_OF_MEMORY * free:
            share = f"{SHARE_OF_MEMORY:.0%} of the {free / 2**30:.1f} GiB that are free"
            return {"skipped": f"needs about {needed / 2**30:.1f} GiB, more than {share}"}
    job = json.dumps({"way": way, "scene": asdict(scene), "labels_file": str(labels_file)})
    environment = os.environ | dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)
    )
    command = [sys.executable, __file__, "--job", job, "--threads", str(threads)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return {"skipped": f"stopped after {limit_s / 60:g} min"}
    if done.returncode:
        return {"skipped": f"ended with status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"}
    return dict(json.loads(done.stdout))


def benchmark(scenes: Sequence[Scene], threads: int, limit_s: float) -> dict[str, Any]:
    """Everything measured, as it stands in the JSON file."""
    facts = facts_of_this_machine()
    facts["versions"] |= {name: version(name) for name in LIBRARIES}
    facts["threads"] = threads
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        for scene in scenes:
            files = {way: Path(scratch) / f"{scene.count}_{way}.npy" for way in WAYS}
            run: dict[str, Any] = {"scene": asdict(scene), "places": -(-scene.count // scene.images_per_place)}
            for way in WAYS:
                _say(f"{scene.count} descriptors, {way}")
                run[way] = measure(way, scene, files[way], threads, limit_s)
            if all(path.exists() for path in files.values()):
                sparse, dense = (np.load(files[way]) for way in WAYS)
                run["same_labels"] = round(float((sparse == dense).mean()), 6)
                run["dense_to_sparse_cpu"] = round(
                    run["dense"]["cpu_seconds"] / max(run["sparse"]["cpu_seconds"], 0.01), 2
                )
                run["dense_to_sparse_peak"] = round(run["dense"]["peak_mib"] / run["sparse"]["peak_mib"], 2)
            runs.append(run)
    return {"machine": facts, "latent_dim": LATENT, "stray_share": STRAY, "runs": runs}


def table(result: dict[str, Any]) -> str:
    """What a person reads."""
    names = ("seconds", "CPU s", "peak MiB", "clusters", "outliers")
    lines = [f"{'descriptors':>11} {'':<7}" + "".join(f"{name:>10}" for name in names) + f"{'ARI':>8}"]
    for run in result["runs"]:
        for way in WAYS:
            found = run[way]
            head = f"{run['scene']['count']:>11} {way:<7}"
            if "skipped" in found:
                lines.append(f"{head}   {found['skipped']}")
                continue
            times = f"{found['seconds']:>10.1f}{found['cpu_seconds']:>10.1f}"
            cells = "".join(f"{found[name]:>10}" for name in ("peak_mib", "clusters", "outliers"))
            lines.append(f"{head}{times}{cells}{found['ari']:>8.3f}")
        if "same_labels" in run:
            lines.append(
                f"{'':>11} {run['places']} places planted; {run['same_labels']:.2%} of the labels are the same"
            )
    return "\n".join(lines)


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _free_bytes() -> float:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table and writes the JSON file; 2 with one clear line when something is wrong."""
    parser = argparse.ArgumentParser(description="Measure clustering on this machine.")
    parser.add_argument("--out", type=Path, default=Path("out/bench/clustering.json"), help="the JSON file to write")
    parser.add_argument("--counts", type=int, nargs="+", default=[10800, 37854], help="numbers of descriptors")
    parser.add_argument("--dim", type=int, default=768, help="numbers in a descriptor")
    parser.add_argument("--images-per-place", type=int, default=54)
    parser.add_argument("--spread", type=float, default=1.0, help="an image's own part beside its place's")
    parser.add_argument("--k1", type=int, default=30)
    parser.add_argument("--k2", type=int, default=6)
    parser.add_argument("--eps", type=float, default=0.4)
    parser.add_argument("--min-samples", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit-min", type=float, default=20.0, help="after which a run is stopped, minutes")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # the work of one process, as JSON
    args = parser.parse_args(argv)
    if args.job is not None:
        torch.set_num_threads(args.threads)
        job = json.loads(args.job)
        print(json.dumps(measure_here(job["way"], Scene(**job["scene"]), Path(job["labels_file"]))))
        return 0
    return report(
        "benchmark_clustering",
        args.out,
        lambda: benchmark(_scenes(args), args.threads, 60.0 * args.limit_min),
        table,
    )


def _scenes(args: argparse.Namespace) -> list[Scene]:
    for name, values, low, high in (
        ("--counts", args.counts, 2, 10**6),
        ("--dim", [args.dim], 2, 10**5),
        ("--images-per-place", [args.images_per_place], 1, 10**6),
        ("--threads", [args.threads], 1, 1024),
    ):
        for value in values:
            if not low <= value <= high:
                raise TilefixError(f"{name} {value} is out of range", mend=f"give {low} to {high}")
    clustering = (args.k1, args.k2, args.eps, args.min_samples)
    return [Scene(count, args.dim, args.images_per_place, args.spread, *clustering) for count in args.counts]


def _say(line: str) -> None:
    print(f"benchmark_clustering: {line}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
