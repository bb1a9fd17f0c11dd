"""The latency benchmark's result for people, and what became worse since an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SMALL = 0.02  # of a ratio: smaller changes say nothing


def regressions(old: Mapping[str, float], new: Mapping[str, float], tolerance: float) -> list[str]:
    """One line for each ratio that both runs have and that is larger by more than `tolerance` (a share) and `SMALL`.

    Wall-time ratios of a run on a shared machine waver with it, so where a ratio stands in processor time as well, that
    one decides.
    """
    lines = []
    for name in sorted(old.keys() & new.keys()):
        if f"{name}_cpu" in old and f"{name}_cpu" in new:
            continue
        before, now = old[name], new[name]
        if now > before * (1.0 + tolerance) and now - before > SMALL:
            lines.append(f"{name}: {before:.3f} before, {now:.3f} now ({now / before:.2f} x)")
    return lines


def table(result: Mapping[str, Any]) -> str:
    """What a person reads: milliseconds of this machine, the ratios that carry to others, and what is left to win."""
    floor, machine, run = result["floor"], result["machine"], result["run"]
    lines = [
        f"{run['model']} on {', '.join(run['providers'])}; {'x'.join(map(str, run['frame_px']))} px frames; map of "
        f"{run['map_km2']:.2f} km2, {run['map_tiles']} tiles; {run['mode']}, pace {run['pace']}, batch 1",
        f"{machine['cpu']}, {machine['cpus']} processors, load {machine['load_before']} before; OpenCV threads "
        f"{machine['threads']['opencv']}, network threads {machine['threads']['onnxruntime']}; "
        f"stolen by the hypervisor {100.0 * result['stolen_share']:.1f} %",
        *(f"warning: {line}" for line in machine["warnings"]),
    ]
    for lane, kinds in result["lanes"].items():
        for kind, facts in kinds.items():
            lines += ["", *_frames(lane, kind, facts)]
    lines += ["", *_floor(floor), *_link(result), *_machine(result)]
    return "\n".join(lines)


def _frames(lane: str, kind: str, facts: Mapping[str, Any]) -> list[str]:
    what = "the whole map is searched, the network runs" if kind == "searched" else "tracked, the network does not run"
    lines = [
        f"lane {lane}: {facts['frames']} frames {kind} ({what}), {facts['throughput_hz']:.1f} a second",
        f"{'ms':<16}{'p50':>9}{'p90':>9}{'p95':>9}{'p99':>9}{'max':>9}   processor time p50{'p99':>9}",
    ]
    for name, one in facts["stages"].items():
        indented = f"  {name}" if name in ("copy_in", "engine", "copy_out") else name
        lines.append(_row(indented, one["wall"], one["cpu"]))
    lines.append(_row("end to end", facts["end_to_end"], facts["end_to_end_cpu"]))
    lines += [f"{name:<34}{value:>9.3f}" for name, value in facts["ratios"].items()]
    return lines


def _row(name: str, wall: Mapping[str, float] | None, cpu: Mapping[str, float] | None = None) -> str:
    if wall is None:
        return f"{name:<16}{'-':>9}"
    cells = "".join(f"{wall[key]:>9.2f}" for key in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"))
    return f"{name:<16}{cells}" + ("" if cpu is None else f"{cpu['p50_ms']:>21.2f}{cpu['p99_ms']:>9.2f}")


def _floor(floor: Mapping[str, Any]) -> list[str]:
    reference, gemm, read = floor["reference"], floor["gemm"], floor["read"]
    lines = [
        f"reference: {reference['network']}, {reference['parameters'] / 1e6:.1f} M parameters, {reference['gmac']:.2f} "
        f"GMAC: {reference['p50_ms']:.1f} ms, {reference['p50_cpu_ms']:.1f} of processor ({reference['runs']} runs)",
        f"this machine: {gemm['cpu_gflops']:.0f} GFLOP/s in a matrix product, "
        f"{read['cpu_gb_per_s']:.1f} GB/s read, of processor time",
    ]
    if floor["engine_cost"] is not None:
        cost = floor["engine_cost"]
        lines.append(f"the model: {cost['gmac']:.4f} GMAC, {cost['weight_bytes'] / 2**20:.1f} MiB of weights")
    for name, one in floor["engines"].items():
        line = f"engine alone, {name}: {one['alone_ms']:.2f} ms, {one['alone_cpu_ms']:.2f} ms of processor time"
        if "memory_floor_ms" in one:
            line += (
                f"; floor {max(one['arithmetic_floor_ms'], one['memory_floor_ms']):.2f} ms (arithmetic "
                f"{one['arithmetic_floor_ms']:.2f}, memory {one['memory_floor_ms']:.2f}): "
                f"{one['alone_cpu_over_floor']:.1f} x the floor"
            )
        lines.append(line)
    return lines


def _link(result: Mapping[str, Any]) -> list[str]:
    run = result["run"]
    lines = [
        f"{'ms':<16}{'p50':>9}{'p90':>9}{'p95':>9}{'p99':>9}{'max':>9}",
        _row("decode", result["decode"]),
        _row("publish", result["publish"]),
        _row("exp. to hand", result["exposure_to_hand"]),
        _row("exp. to forecast", result["exposure_to_forecast"]),
    ]
    if result["exposure_to_mavlink"] is None:
        lines.append("exposure to MAVLink: only with --pace realtime, and with positions sent")
    else:
        lines += [
            _row("exp. to MAVLink", result["exposure_to_mavlink"]),
            f"positions sent at {run['publish_hz']:g} Hz, delay_ms {run['publish_delay_ms']:g}; "
            f"{result['frames_in_no_position']} frames were overtaken by a newer one before they were sent",
        ]
    return lines


def _machine(result: Mapping[str, Any]) -> list[str]:
    memory, energy = result["memory"], result["energy_j"]
    lines = [
        f"frames given {result['frames_given']}, dropped {result['frames_dropped']}; {result['positions']} positions",
        f"memory {memory['last_mib']:.0f} MiB resident, peak {memory['peak_mib']:.0f} MiB, slope "
        + ("-" if memory["slope_mib_per_min"] is None else f"{memory['slope_mib_per_min']:+.2f} MiB/min")
        + (
            ""
            if memory["slope_of_second_half_mib_per_min"] is None
            else f" ({memory['slope_of_second_half_mib_per_min']:+.2f} in the second half)"
        ),
        "energy: no sensor that may be read here"
        if energy is None
        else "energy: " + ", ".join(f"{name} {joules:.1f} J" for name, joules in energy.items()),
    ]
    if "soak" in result:
        soak = result["soak"]
        first, last = soak["p99_first_minute"], soak["p99_last_minute"]
        lines.append(
            f"soak of {soak['minutes']:g} minutes, lane {soak['lane']}: p99 {first['wall_ms']:.1f} ms in the first "
            f"minute, {last['wall_ms']:.1f} in the last, {soak['p99_last_over_first']:.2f} x; "
            f"of processor time {first['cpu_ms']:.1f} and {last['cpu_ms']:.1f}, "
            f"{soak['p99_last_over_first_cpu']:.2f} x"
        )
    return lines
