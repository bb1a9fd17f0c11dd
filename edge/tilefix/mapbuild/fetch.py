"""Loads map tiles from the user's own provider into a folder that `tilefix map build` reads: slowly, and only once."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tilefix import __version__
from tilefix.errors import MapError
from tilefix.geodesy import tile_of
from tilefix.mapbuild.pictures import picture_info
from tilefix.mapbuild.sources import BBox
from tilefix.mapbuild.tiles import MAX_ZOOM, SOURCE_FILE

USER_AGENT = f"tilefix/{__version__} (offline map for one vehicle)"
MAX_TILES_LIMIT = 200_000
MAX_ANSWER_BYTES = 4 << 20
TIMEOUT_S = 30.0
ANSWER_LIMIT_S = 120.0
ATTEMPTS = 6
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
_KINDS = ("png", "jpg", "webp")


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """What to load. `url`: template with {z}, {x} and {y} ({-y} counts rows from the south, {q} is a quadkey)."""

    url: str
    bbox: BBox
    zoom: int
    licence: str
    date: str = ""
    max_tiles: int = 20_000
    rate_per_s: float = 4.0


@dataclass(frozen=True, slots=True)
class FetchResult:
    """How many tiles were loaded, were there already, and do not exist at the provider."""

    loaded: int
    kept: int
    missing: int


class TileFetcher:
    """Asks a provider for tiles one after the other, never faster than the rate, and waits when told to."""

    def __init__(
        self,
        options: FetchOptions,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._host = _checked(options)
        self._sleep, self._monotonic = sleep, monotonic
        self._next_s = monotonic()

    def fetch(self, out: Path, progress: Callable[[float], None] | None = None) -> FetchResult:
        """Loads what is missing in `out` (z/x/y.png, jpg or webp by content); raises `MapError`.

        Tiles already loaded stay and are not asked for again, so an interrupted run goes on where it stopped.
        """
        tiles = list(tiles_within(self._options.bbox, self._options.zoom, self._options.max_tiles))
        self._claim(out)
        loaded = kept = missing = 0
        for number, (x, y) in enumerate(tiles):
            stem = out / str(self._options.zoom) / str(x) / str(y)
            if any(stem.with_suffix(f".{kind}").is_file() for kind in _KINDS):
                kept += 1
            elif (data := self._tile(x, y)) is None:
                missing += 1
            else:
                where = f"{self._host}: tile {self._options.zoom}/{x}/{y}"
                try:
                    info = picture_info(data, where)
                except MapError as error:
                    raise MapError(
                        f"answer is no map tile: {error.what}", where=where, mend="check --url, its key and --zoom"
                    ) from error
                _write(stem.with_suffix(f".{info.kind}"), data)
                loaded += 1
            if progress is not None:
                progress((number + 1) / len(tiles))
        if loaded + kept == 0:
            raise MapError("provider has no tile there", where=self._host, mend="check --bbox and --zoom")
        return FetchResult(loaded, kept, missing)

    def _claim(self, out: Path) -> None:
        """Writes what the tiles are and under which licence; refuses a folder that holds something else."""
        about = {"source": self._host, "licence": self._options.licence, "date": self._options.date}
        text = json.dumps(about, indent=2, sort_keys=True) + "\n"
        path = out / SOURCE_FILE
        try:
            if path.is_file():
                if path.read_text(encoding="utf-8") != text:
                    raise MapError(
                        "folder holds tiles of another source, date or licence", where=out, mend="choose another --out"
                    )
                return
            if out.exists() and any(out.iterdir()):
                raise MapError("folder holds other things", where=out, mend="choose another --out")
        except (OSError, UnicodeDecodeError) as error:
            raise MapError(f"cannot use the folder: {error}", where=out, mend="choose another --out") from error
        _write(path, text.encode())

    def _tile(self, x: int, y: int) -> bytes | None:
        """The answer's body, `None` where the provider has nothing; raises `MapError` after the last attempt."""
        zoom = self._options.zoom
        url = tile_url(self._options.url, zoom, x, y)
        where = f"{self._host}: tile {zoom}/{x}/{y}"
        wait_s, last = FIRST_WAIT_S, ""
        for attempt in range(ATTEMPTS):
            self._pace()
            told_s = None
            try:
                request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept": "image/*"})
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                    return self._body(answer, where) or None
            except urllib.error.HTTPError as error:
                with error:
                    if error.code in (404, 410):
                        return None
                    if error.code not in (408, 425, 429, 500, 502, 503, 504):
                        raise MapError(
                            f"provider answers {error.code} {error.reason}", where=where, mend="check --url and its key"
                        ) from error
                    told_s = retry_after_s(error.headers.get("Retry-After"), time.time())
                    last = f"{error.code} {error.reason}"
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                last = str(getattr(error, "reason", "") or error) or type(error).__name__
            if told_s is not None and told_s > LONGEST_WAIT_S:
                raise MapError(
                    f"provider asks to wait {told_s:.0f} s", where=where, mend="run the same command again later"
                )
            if attempt + 1 < ATTEMPTS:
                self._sleep(wait_s if told_s is None else max(told_s, wait_s))
                wait_s = min(2.0 * wait_s, LONGEST_WAIT_S)
        raise MapError(
            f"no answer after {ATTEMPTS} attempts: {last}", where=where, mend="run the same command again; it goes on"
        )

    def _body(self, answer: http.client.HTTPResponse, where: str) -> bytes:
        pieces, size, started_s = [], 0, self._monotonic()
        while piece := answer.read(1 << 16):
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                raise MapError(f"answer is larger than {MAX_ANSWER_BYTES} bytes", where=where, mend="check --url")
            if self._monotonic() - started_s > ANSWER_LIMIT_S:
                raise TimeoutError("answer trickles in too slowly")
            pieces.append(piece)
        if answer.length:  # bytes that were promised and did not come
            raise http.client.IncompleteRead(b"".join(pieces), answer.length)
        return b"".join(pieces)

    def _pace(self) -> None:
        now_s = self._monotonic()
        if now_s < self._next_s:
            self._sleep(self._next_s - now_s)
        self._next_s = max(now_s, self._next_s) + 1.0 / self._options.rate_per_s


def tiles_within(bbox: BBox, zoom: int, max_tiles: int) -> Iterator[tuple[int, int]]:
    """(x, y) of the tiles that touch the box, row by row; raises `MapError` when they are too many."""
    west, north = tile_of(bbox.north_deg, bbox.west_deg, zoom)
    east, south = tile_of(bbox.south_deg, bbox.east_deg, zoom)
    last = 2**zoom - 1
    xs = range(max(0, math.floor(west)), min(last, math.ceil(east) - 1) + 1)
    ys = range(max(0, math.floor(north)), min(last, math.ceil(south) - 1) + 1)
    if len(xs) * len(ys) > max_tiles:
        raise MapError(
            f"box has {len(xs) * len(ys)} tiles at zoom {zoom}, the limit is {max_tiles}",
            where="--bbox",
            mend="choose a smaller box, a lower --zoom, or raise --max-tiles if the provider allows it",
        )
    return ((x, y) for y in ys for x in xs)


def tile_url(template: str, zoom: int, x: int, y: int) -> str:
    """The template with its places filled in."""
    quadkey = "".join(str((x >> i & 1) + 2 * (y >> i & 1)) for i in range(zoom - 1, -1, -1))
    places = {"{z}": zoom, "{x}": x, "{y}": y, "{-y}": 2**zoom - 1 - y, "{q}": quadkey}
    for place, value in places.items():
        template = template.replace(place, str(value))
    return template


def retry_after_s(text: str | None, now_s: float) -> float | None:
    """Seconds from a Retry-After header (seconds or a date, RFC 9110 10.2.3); `None` without a sensible one."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return min(float(text.strip()), 1e9)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def _checked(options: FetchOptions) -> str:
    """The provider's host, which is all of the address that is ever written down: the rest may hold a key."""
    mend = "give --url like https://tiles.example.org/{z}/{x}/{y}.png"
    try:
        parts = urllib.parse.urlsplit(options.url)
        host = parts.hostname
    except ValueError as error:
        raise MapError(f"not an address: {error}", where="--url", mend=mend) from error
    if parts.scheme not in ("http", "https") or not host or any(c <= " " for c in options.url):
        raise MapError("not an http or https address", where="--url", mend=mend)
    rows = "{y}" in options.url or "{-y}" in options.url
    if "{q}" not in options.url and not ("{z}" in options.url and "{x}" in options.url and rows):
        raise MapError("address has no {z}, {x} and {y}", where="--url", mend=mend)
    if not options.licence.strip():
        raise MapError("licence is empty", where="--license", mend="say under which terms you may use the tiles")
    if not 0 <= options.zoom <= MAX_ZOOM:
        raise MapError(f"zoom {options.zoom} is not 0 to {MAX_ZOOM}", where="--zoom", mend="17 to 20 suits most maps")
    if not 0 < options.max_tiles <= MAX_TILES_LIMIT:
        raise MapError(f"limit of {options.max_tiles} tiles", where="--max-tiles", mend=f"1 to {MAX_TILES_LIMIT}")
    if not 0.0 < options.rate_per_s <= 50.0:
        raise MapError(f"{options.rate_per_s:g} tiles a second", where="--rate", mend="choose above 0 to 50")
    return host


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise MapError(f"cannot write: {error.strerror}", where=path, mend="check space and rights") from error
