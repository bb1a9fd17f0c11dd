"""What the machine tells of itself in /proc and /sys while it is measured: energy, temperature, clocks, throttling.

What a machine does not tell is absent from the answer, never guessed.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path("/")
_NVPMODEL = "var/lib/nvpmodel/status"  # Jetson: "pmode:0000"


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None


def _word(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip("\0\n ") or None
    except OSError:
        return None


def clocks(root: Path = ROOT) -> dict[str, Any]:
    """Governor, turbo and power mode, with what follows for figures measured now in `warnings`."""
    cpus = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    governors = sorted({word for cpu in cpus if (word := _word(cpu / "scaling_governor"))})
    no_turbo = _number(root / "sys/devices/system/cpu/intel_pstate/no_turbo")
    boost = _number(root / "sys/devices/system/cpu/cpufreq/boost")
    turbo = no_turbo == 0.0 if no_turbo is not None else None if boost is None else boost == 1.0
    told: dict[str, Any] = {"governor": governors or None, "turbo": turbo}
    warnings = []
    if not governors:
        warnings.append("the machine does not tell its clock governor: clocks may float")
    elif governors != ["performance"]:
        warnings.append(f"clocks float: governor {', '.join(governors)}, not performance")
    if turbo:
        warnings.append("clocks float: turbo is on")
    status = _word(root / _NVPMODEL)
    if status is not None:
        told["nvpmodel"] = status
    return {**told, "warnings": warnings}


def readings(root: Path = ROOT) -> dict[str, Any]:
    """Clock frequencies, temperatures and throttling counts of this moment, of those that there are."""
    found: dict[str, Any] = {}
    cpus = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*"))
    mhz = [value / 1e3 for cpu in cpus if (value := _number(cpu / "cpufreq/scaling_cur_freq")) is not None]
    if mhz:
        found["cpu_mhz"] = mhz
    gpu = {
        path.parent.name: value / 1e6
        for path in sorted((root / "sys/class/devfreq").glob("*/cur_freq"))
        if (value := _number(path)) is not None
    }
    if gpu:
        found["devfreq_mhz"] = gpu
    celsius = {
        _word(zone / "type") or zone.name: value / 1e3
        for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*"))
        if (value := _number(zone / "temp")) is not None
    }
    if celsius:
        found["temperature_c"] = celsius
    throttled = [value for cpu in cpus if (value := _number(cpu / "thermal_throttle/core_throttle_count")) is not None]
    if throttled:
        found["throttle_count"] = sum(throttled)
    cooling = {
        _word(device / "type") or device.name: value
        for device in sorted((root / "sys/class/thermal").glob("cooling_device*"))
        if (value := _number(device / "cur_state"))
    }
    if cooling:
        found["cooling_states"] = cooling
    return found


def power_w(root: Path = ROOT) -> dict[str, float]:
    """Watts by rail from the INA sensors of a Jetson (millivolts times milliamperes), empty elsewhere."""
    rails = {}
    for label in sorted((root / "sys/class/hwmon").glob("hwmon*/in*_label")):
        number = re.sub(r"\D", "", label.name)
        volts = _number(label.with_name(f"in{number}_input"))
        amperes = _number(label.with_name(f"curr{number}_input"))
        if volts is not None and amperes is not None:
            rails[_word(label) or label.name] = volts * amperes / 1e6
    return rails


def rapl_uj(root: Path = ROOT) -> dict[str, tuple[float, float]]:
    """Energy counters of the processor packages: microjoules so far, and where the counter begins again."""
    counters = {}
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]")):
        value, most = _number(zone / "energy_uj"), _number(zone / "max_energy_range_uj")
        if value is not None and most is not None:
            counters[_word(zone / "name") or zone.name] = (value, most)
    return counters


def memory_mib(root: Path = ROOT) -> tuple[float, float]:
    """(resident, peak resident) of this process; NaN where the system does not tell."""
    text = _word(root / "proc/self/status") or ""
    found = [re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE) for name in ("VmRSS", "VmHWM")]
    rss, peak = (float(one[1]) / 1024.0 if one else float("nan") for one in found)
    return rss, peak


def stolen_share(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Share of the processor time between two `processor_ticks` that a hypervisor gave to others."""
    total = after[1] - before[1]
    return (after[0] - before[0]) / total if total > 0.0 else 0.0


def processor_ticks(root: Path = ROOT) -> tuple[float, float]:
    """(stolen, all) ticks of all processors since boot."""
    line = (_word(root / "proc/stat") or "").partition("\n")[0].split()[1:]
    ticks = [float(value) for value in line[:8]]
    return (ticks[7] if len(ticks) > 7 else 0.0), sum(ticks)


@dataclass
class EnergyMeter:
    """Energy of a run: counters at both ends where there are some, else power sampled in between."""

    root: Path = ROOT
    _counters: dict[str, tuple[float, float]] = field(init=False)
    _joules: dict[str, float] = field(default_factory=dict)
    _sampled_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._counters = rapl_uj(self.root)
        self._sampled_s = time.monotonic()

    def sample(self) -> None:
        """Adds what the rails took since the last sample; call it about every second."""
        now_s = time.monotonic()
        for rail, watts in power_w(self.root).items():
            self._joules[rail] = self._joules.get(rail, 0.0) + watts * (now_s - self._sampled_s)
        self._sampled_s = now_s

    def joules(self) -> dict[str, float] | None:
        """Joules by counter or rail; `None` where the machine has no sensor that may be read."""
        ends = rapl_uj(self.root)
        counted = {
            name: ((value - self._counters[name][0]) % most) / 1e6
            for name, (value, most) in ends.items()
            if name in self._counters
        }
        return {**counted, **self._joules} or None
