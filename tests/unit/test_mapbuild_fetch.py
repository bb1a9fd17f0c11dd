"""Loading tiles over HTTP, against a server on the loopback."""

from __future__ import annotations

import email.utils
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from support.rasters import textured
from tilefix.cli import main
from tilefix.errors import MapError
from tilefix.geodesy import tile_corner
from tilefix.mapbuild import fetch
from tilefix.mapbuild.fetch import FetchOptions, FetchResult, TileFetcher, retry_after_s, tile_url, tiles_within
from tilefix.mapbuild.imagery import open_imagery
from tilefix.mapbuild.sources import BBox

PNG = cv2.imencode(".png", textured(256, 256))[1].tobytes()
JPG = cv2.imencode(".jpg", textured(256, 256))[1].tobytes()
ZOOM, X, Y = 18, 139500, 90970

Answer = tuple[int, dict[str, str], bytes]


class Provider:
    """A tile server; `answer(path, nth)` decides, `nth` counts the requests for that path from 0."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.agents: set[str] = set()
        self.answer: Callable[[str, int], Answer] = lambda path, nth: (200, {}, PNG)
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                nth = provider.paths.count(self.path)
                provider.paths.append(self.path)
                provider.agents.add(self.headers["User-Agent"])
                status, headers, body = provider.answer(self.path, nth)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/{{z}}/{{x}}/{{y}}?key=secret"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waits_s: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.now_s += seconds

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("no_proxy", "*")
    server = Provider()
    yield server
    server.close()


def box(columns: int, rows: int) -> BBox:
    """A box well inside a block of tiles."""
    north, west = tile_corner(X + 0.25, Y + 0.25, ZOOM)
    south, east = tile_corner(X + columns - 0.25, Y + rows - 0.25, ZOOM)
    return BBox(west, south, east, north)


def options(provider: Provider, columns: int = 3, rows: int = 2) -> FetchOptions:
    return FetchOptions(provider.url, box(columns, rows), ZOOM, "test licence", rate_per_s=10.0)


def run(what: FetchOptions, out: Path, time: FakeTime | None = None) -> FetchResult:
    time = time or FakeTime()
    return TileFetcher(what, sleep=time.sleep, monotonic=time.monotonic).fetch(out)


def test_tiles_become_a_folder_that_map_build_reads(provider: Provider, tmp_path: Path) -> None:
    provider.answer = lambda path, nth: (200, {}, JPG if f"/{X}/" in path else PNG)
    assert run(options(provider), tmp_path / "tiles") == FetchResult(loaded=6, kept=0, missing=0)
    files = sorted(str(p.relative_to(tmp_path / "tiles")) for p in (tmp_path / "tiles").rglob("*.*"))
    assert files == sorted(
        ["source.json"] + [f"{ZOOM}/{X + i}/{Y + j}.{'jpg' if i == 0 else 'png'}" for i in range(3) for j in range(2)]
    )
    source = open_imagery(tmp_path / "tiles")
    assert (source.width_px, source.height_px) == (768, 512)
    assert (source.source, source.licence) == ("127.0.0.1", "test licence")


def test_the_key_is_written_nowhere(provider: Provider, tmp_path: Path) -> None:
    provider.answer = lambda path, nth: (403, {}, b"")
    with pytest.raises(MapError) as caught:
        run(options(provider), tmp_path / "tiles")
    assert "secret" not in str(caught.value)
    assert all(b"secret" not in p.read_bytes() for p in (tmp_path / "tiles").rglob("*") if p.is_file())
    assert "secret" in provider.paths[0]


def test_politeness(provider: Provider, tmp_path: Path) -> None:
    time = FakeTime()
    run(options(provider), tmp_path / "tiles", time)
    assert time.now_s - 100.0 == pytest.approx(0.5)  # six tiles at ten a second
    assert all(agent.startswith("tilefix/") for agent in provider.agents)
    assert len(provider.paths) == len(set(provider.paths)) == 6


def test_an_interrupted_load_goes_on(provider: Provider, tmp_path: Path) -> None:
    provider.answer = lambda path, nth: (200, {}, PNG) if len(provider.paths) <= 3 else (403, {}, b"")
    with pytest.raises(MapError, match="403"):
        run(options(provider), tmp_path / "tiles")
    provider.answer = lambda path, nth: (200, {}, PNG)
    before = len(provider.paths)
    assert run(options(provider), tmp_path / "tiles") == FetchResult(loaded=3, kept=3, missing=0)
    assert len(provider.paths) - before == 3
    assert not list((tmp_path / "tiles").rglob("*.partial"))


def test_tiles_that_do_not_exist_are_counted(provider: Provider, tmp_path: Path) -> None:
    answers = {0: (404, {}, b"no"), 1: (204, {}, b""), 2: (200, {}, b"")}
    provider.answer = lambda path, nth: answers.get(len(provider.paths) - 1, (200, {}, PNG))
    assert run(options(provider), tmp_path / "tiles") == FetchResult(loaded=3, kept=0, missing=3)
    provider.answer = lambda path, nth: (404, {}, b"")
    with pytest.raises(MapError, match="no tile there"):
        run(options(provider), tmp_path / "other")


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_busy_provider_is_asked_again_ever_more_slowly(provider: Provider, tmp_path: Path, status: int) -> None:
    provider.answer = lambda path, nth: (status, {}, b"") if nth < 4 else (200, {}, PNG)
    time = FakeTime()
    assert run(options(provider, 1, 1), tmp_path / "tiles", time).loaded == 1
    assert time.waits_s == [1.0, 2.0, 4.0, 8.0]


def test_retry_after_is_honoured(provider: Provider, tmp_path: Path) -> None:
    provider.answer = lambda path, nth: (429, {"Retry-After": "17"}, b"") if nth == 0 else (200, {}, PNG)
    time = FakeTime()
    run(options(provider, 1, 1), tmp_path / "tiles", time)
    assert time.waits_s == [17.0]
    provider.answer = lambda path, nth: (429, {"Retry-After": "86400"}, b"")
    with pytest.raises(MapError, match="asks to wait 86400 s"):
        run(options(provider, 1, 1), tmp_path / "other", time)
    assert time.waits_s == [17.0]


def test_it_gives_up(provider: Provider, tmp_path: Path) -> None:
    provider.answer = lambda path, nth: (503, {}, b"")
    with pytest.raises(MapError, match="no answer after 6 attempts: 503"):
        run(options(provider, 1, 1), tmp_path / "tiles")
    assert len(provider.paths) == 6


def test_nobody_listens(provider: Provider, tmp_path: Path) -> None:
    what = options(provider, 1, 1)
    provider.close()
    with pytest.raises(MapError, match="no answer after 6 attempts"):
        run(what, tmp_path / "tiles")
    provider.close = lambda: None  # type: ignore[method-assign]


def test_an_answer_cut_short_is_asked_for_again(provider: Provider, tmp_path: Path) -> None:
    provider.answer = lambda path, nth: (200, {"Content-Length": str(len(PNG))}, PNG[:1000] if nth == 0 else PNG)
    assert run(options(provider, 1, 1), tmp_path / "tiles").loaded == 1
    assert len(provider.paths) == 2


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ((200, {}, b"<html>quota exceeded</html>"), "no map tile: not a PNG"),
        ((200, {"Content-Type": "image/png"}, PNG[:-30]), "damaged or cut short"),
        ((200, {}, bytes((4 << 20) + 1)), "larger than"),
        ((401, {}, b""), "401"),
        ((400, {}, b""), "400"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "302"),
    ],
)
def test_answers_that_are_no_tile(provider: Provider, tmp_path: Path, answer: Answer, match: str) -> None:
    provider.answer = lambda path, nth: answer
    with pytest.raises(MapError, match=match):
        run(options(provider, 1, 1), tmp_path / "tiles")
    assert [p.name for p in (tmp_path / "tiles").rglob("*") if p.is_file()] == ["source.json"]
    assert len(provider.paths) == 1


def test_a_trickle_is_cut_off(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "ANSWER_LIMIT_S", -1.0)
    with pytest.raises(MapError, match="trickles"):
        run(options(provider, 1, 1), tmp_path / "tiles")


def test_a_folder_of_other_things_or_another_licence(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("mine")
    with pytest.raises(MapError, match="other things"):
        run(options(provider), tmp_path / "photos")
    run(options(provider, 1, 1), tmp_path / "tiles")
    with pytest.raises(MapError, match="another source, date or licence"):
        run(replace(options(provider, 1, 1), licence="another"), tmp_path / "tiles")
    assert len(provider.paths) == 1


def test_a_folder_that_cannot_be_made(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(MapError, match="cannot write"):
        run(options(provider, 1, 1), tmp_path / "file" / "tiles")
    assert provider.paths == []


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "file:///etc/{z}/{x}/{y}"},
        {"url": "ftp://a.example/{z}/{x}/{y}"},
        {"url": "http:///{z}/{x}/{y}"},
        {"url": "http://a.example/{z}/{x}"},
        {"url": "http://a.example/{z}/{x}/{y} HTTP/1.1\r\nHost: b"},
        {"url": "http://[::1/{z}/{x}/{y}"},
        {"licence": "  "},
        {"zoom": 27},
        {"zoom": -1},
        {"max_tiles": 0},
        {"max_tiles": 10**9},
        {"rate_per_s": 0.0},
        {"rate_per_s": float("nan")},
        {"rate_per_s": 1000.0},
    ],
)
def test_wishes_that_are_refused(provider: Provider, changes: dict[str, object]) -> None:
    with pytest.raises(MapError):
        TileFetcher(replace(options(provider), **changes))  # type: ignore[arg-type]


def test_too_many_tiles_are_not_begun(provider: Provider, tmp_path: Path) -> None:
    with pytest.raises(MapError, match="6 tiles at zoom 18, the limit is 5"):
        run(replace(options(provider), max_tiles=5), tmp_path / "tiles")
    with pytest.raises(MapError, match="the limit is"):
        run(replace(options(provider), bbox=BBox(-180, -85, 180, 85), zoom=26), tmp_path / "tiles")
    assert not (tmp_path / "tiles").exists()
    assert provider.paths == []


def test_tiles_of_the_whole_world() -> None:
    assert sorted(tiles_within(BBox(-180, -85, 180, 85), 1, 4)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert list(tiles_within(box(2, 1), ZOOM, 10)) == [(X, Y), (X + 1, Y)]


def test_addresses() -> None:
    assert tile_url("{z}/{x}/{y}", 3, 5, 2) == "3/5/2"
    assert tile_url("{z}/{x}/{-y}", 3, 5, 2) == "3/5/5"
    # Source: Bing Maps Tile System, tile (3, 5) at level 3 has the quadkey 213.
    assert tile_url("t{q}.jpeg", 3, 3, 5) == "t213.jpeg"


def test_retry_after_forms() -> None:
    assert retry_after_s("5", 0.0) == 5.0
    assert retry_after_s(email.utils.formatdate(1_700_000_060, usegmt=True), 1_700_000_000.0) == pytest.approx(60.0)
    assert retry_after_s(email.utils.formatdate(1_600_000_000, usegmt=True), 1_700_000_000.0) == 0.0
    assert [retry_after_s(text, 0.0) for text in (None, "soon", "-1", "")] == [None, None, None, None]


def test_the_command(provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = box(2, 1)
    bbox = f"{wanted.west_deg},{wanted.south_deg},{wanted.east_deg},{wanted.north_deg}"
    command = ["map", "fetch", "--url", provider.url, f"--bbox={bbox}", "--zoom", str(ZOOM)]
    command += ["--license", "CC0", "--rate", "50", "--out", str(tmp_path / "tiles")]
    assert main(command) == 0
    assert "2 tiles loaded, 0 there before" in capsys.readouterr().out
    assert json.loads((tmp_path / "tiles" / "source.json").read_text())["licence"] == "CC0"
    assert main([*command[:4], "--bbox=1,2,3", *command[5:]]) == 2
    assert "four numbers" in capsys.readouterr().err
