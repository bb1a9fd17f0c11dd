"""tools/sensors.py on made-up /proc and /sys: of a workstation, of a Jetson, of a machine that tells nothing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from support.tools import load_tool

sensors = load_tool("sensors")


def tell(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_a_machine_that_tells_nothing_is_not_guessed_at(tmp_path: Path) -> None:
    told = sensors.clocks(tmp_path)
    assert (told["governor"], told["turbo"]) == (None, None)
    assert told["warnings"] == ["the machine does not tell its clock governor: clocks may float"]
    assert sensors.readings(tmp_path) == {}
    assert sensors.power_w(tmp_path) == {}
    assert sensors.EnergyMeter(tmp_path).joules() is None
    assert all(map(math.isnan, sensors.memory_mib(tmp_path)))


@pytest.mark.parametrize(
    ("governor", "no_turbo", "warnings"),
    [
        ("performance", "1", []),
        ("performance", "0", ["clocks float: turbo is on"]),
        ("powersave", "1", ["clocks float: governor powersave, not performance"]),
    ],
)
def test_floating_clocks_are_told(tmp_path, governor, no_turbo, warnings) -> None:
    cpu = "sys/devices/system/cpu"
    tell(tmp_path, {f"{cpu}/cpu0/cpufreq/scaling_governor": governor, f"{cpu}/intel_pstate/no_turbo": no_turbo})
    assert sensors.clocks(tmp_path)["warnings"] == warnings


def test_a_jetson_tells_its_rails_clocks_and_heat(tmp_path: Path) -> None:
    hwmon, cpu = "sys/class/hwmon/hwmon3", "sys/devices/system/cpu/cpu0"
    tell(
        tmp_path,
        {
            f"{hwmon}/in1_label": "VDD_IN",
            f"{hwmon}/in1_input": "5000",
            f"{hwmon}/curr1_input": "2400",
            f"{hwmon}/in2_label": "unread",
            f"{cpu}/cpufreq/scaling_cur_freq": "1510400",
            f"{cpu}/thermal_throttle/core_throttle_count": "7",
            "sys/class/devfreq/17000000.gpu/cur_freq": "918000000",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": "51250",
            "sys/class/thermal/cooling_device1/type": "pwm-fan",
            "sys/class/thermal/cooling_device1/cur_state": "2",
            "var/lib/nvpmodel/status": "pmode:0000",
        },
    )
    assert sensors.power_w(tmp_path) == {"VDD_IN": pytest.approx(12.0)}
    assert sensors.clocks(tmp_path)["nvpmodel"] == "pmode:0000"
    assert sensors.readings(tmp_path) == {
        "cpu_mhz": [pytest.approx(1510.4)],
        "devfreq_mhz": {"17000000.gpu": pytest.approx(918.0)},
        "temperature_c": {"cpu-thermal": pytest.approx(51.25)},
        "throttle_count": 7.0,
        "cooling_states": {"pwm-fan": 2.0},
    }
    meter = sensors.EnergyMeter(tmp_path)
    meter._sampled_s -= 2.0  # two seconds ago
    meter.sample()
    assert meter.joules() == {"VDD_IN": pytest.approx(24.0, rel=0.01)}


def test_energy_counters_that_begin_again_are_followed(tmp_path: Path) -> None:
    zone = "sys/class/powercap/intel-rapl:0"
    tell(tmp_path, {f"{zone}/name": "package-0", f"{zone}/energy_uj": "900", f"{zone}/max_energy_range_uj": "1000"})
    meter = sensors.EnergyMeter(tmp_path)
    tell(tmp_path, {f"{zone}/energy_uj": "400"})
    assert meter.joules() == {"package-0": pytest.approx(500e-6)}


def test_memory_and_stolen_time(tmp_path: Path) -> None:
    tell(
        tmp_path,
        {"proc/self/status": "VmHWM:\t  4096 kB\nVmRSS:\t  2048 kB", "proc/stat": "cpu  10 0 5 80 0 0 0 5 0 0"},
    )
    assert sensors.memory_mib(tmp_path) == (2.0, 4.0)
    before = sensors.processor_ticks(tmp_path)
    tell(tmp_path, {"proc/stat": "cpu  60 0 5 80 0 0 0 55 0 0"})
    assert sensors.stolen_share(before, sensors.processor_ticks(tmp_path)) == pytest.approx(0.5)
