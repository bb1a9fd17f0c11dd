"""Small flight folders for tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

TOML = """\
frames = "{frames}"
log = "log.csv"
[camera]
width = {width}
height = {height}
hfov_deg = 60
[mount]
yaw_deg = 90
"""
HEADER = "frame,time_s,agl_m,roll_deg,pitch_deg,yaw_deg,lat_deg,lon_deg\n"


def picture(level: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A flat RGB picture whose red says which it is."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = level
    return image


def write_picture(path: Path, image: np.ndarray) -> None:
    """Writes an RGB picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])


def write_video(path: Path, count: int, width: int = 64, height: int = 48) -> None:
    """A Motion-JPEG AVI (intra-coded: every frame stands alone) whose frame `k` has red `10 * k`."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (width, height))
    assert writer.isOpened()
    for k in range(count):
        writer.write(np.ascontiguousarray(picture(10 * k, width, height)[..., ::-1]))
    writer.release()


def picture_flight(folder: Path, rows: str | None = None, *, count: int = 3, header: str = HEADER) -> Path:
    """A folder with `count` PNG pictures `f0.png`... and a log of one row for each, or of `rows`."""
    for k in range(count):
        write_picture(folder / "photo" / f"f{k}.png", picture(10 * k))
    if rows is None:
        rows = "".join(f"f{k}.png,{k * 0.5},100,1,-2,90,47.{k},8.5\n" for k in range(count))
    (folder / "flight.toml").write_text(TOML.format(frames="photo/*.png", width=64, height=48))
    (folder / "log.csv").write_text(header + rows)
    return folder


def video_flight(folder: Path, rows: str, *, count: int = 12) -> Path:
    """A folder with a video of `count` frames and that log."""
    folder.mkdir(parents=True, exist_ok=True)
    write_video(folder / "flight.avi", count)
    (folder / "flight.toml").write_text(TOML.format(frames="flight.avi", width=64, height=48))
    (folder / "log.csv").write_text(HEADER + rows)
    return folder
