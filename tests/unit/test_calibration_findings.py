"""The lines to paste: sizes stand beside focal lengths in pixels, and no latency that would be refused."""

from __future__ import annotations

import importlib
import sys
from dataclasses import fields, replace

import pytest

from tilefix.calibration.findings import LATENCY_RANGE_MS, Finding, _config
from tilefix.camera import CameraModel
from tilefix.service.config import CameraSettings

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def values(latency_ms: float) -> tuple[Finding, ...]:
    one = Finding("a value", "", 0.0, 1.0, 0.1, told=True, changed=True)
    return one, one, one, replace(one, value=60.0), replace(one, value=latency_ms), one, one


def test_focal_lengths_stand_beside_the_size_that_they_belong_to() -> None:
    camera = CameraModel(1920, 1080, 1500.0, 1510.0, 955.0, 540.0)
    pasted = tomllib.loads(_config(values(80.0), camera, 0.0))["camera"]
    found = {key: pasted[key] for key in ("width", "height", "fx", "fy", "cx", "cy")}
    assert found == {"width": 1920, "height": 1080, "fx": 1500.0, "fy": 1510.0, "cx": 955.0, "cy": 540.0}
    assert pasted["latency_ms"] == 80.0


@pytest.mark.parametrize("latency_ms", [-350.0, 2600.0])
def test_a_latency_that_the_configuration_refuses_is_no_line_to_paste(latency_ms: float) -> None:
    camera = CameraModel.from_hfov(640, 480, 60.0)
    text = _config(values(latency_ms), camera, 0.0)
    assert "latency_ms" not in tomllib.loads(text)["camera"]
    assert "# no camera is that late or early" in text


def test_the_range_is_that_of_the_configuration() -> None:
    (latency,) = (field for field in fields(CameraSettings) if field.name == "latency_ms")
    assert latency.metadata["limits"] == LATENCY_RANGE_MS
