"""Drawings of results: sound SVG that shows as many marks, where, and of what kind as the figures say."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from support.tools import load_tool
from tilefix.evaluation.scoring import Answer, Score, judge, score
from tilefix.geodesy import LocalFrame
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason

convergence = load_tool("convergence_picture")
drift = load_tool("evaluate_drift")
figures = load_tool("generated_figures")
headless = load_tool("headless_picture")
panels = load_tool("panels")
real = load_tool("real_pictures")
runs = load_tool("generated_runs")
tracks = load_tool("track_picture")

SVG = "{http://www.w3.org/2000/svg}"
LOCAL = LocalFrame(47.0, 8.5)
PANEL = panels.Panel(100.0, 300.0, 50.0, 250.0, (0.0, 10.0), (1.0, 100.0), y_log=True)


def _marks(svg: str, tag: str, **wanted: str) -> list[ElementTree.Element]:
    return [
        node
        for node in ElementTree.fromstring(svg).iter(SVG + tag)
        if all(node.get(name) == value for name, value in wanted.items())
    ]


def _words(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in _marks(svg, "text")]


def _points(node: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in node.attrib["points"].split())]


def test_values_lie_on_their_scales_and_never_outside_the_frame() -> None:
    assert [PANEL.x(value) for value in (0.0, 5.0, 10.0, 99.0, -1.0)] == [100.0, 200.0, 300.0, 300.0, 100.0]
    assert [PANEL.y(value) for value in (1.0, 10.0, 100.0)] == pytest.approx([250.0, 150.0, 50.0])
    assert PANEL.y(0.0) == 250.0
    named = panels.drawing(400, 300, "A & B", PANEL.axes("{:g} s".format, "{:g} m".format, "<Title>"))
    assert {"<Title>", "0 s", "10 s", "1 m", "3 m", "10 m", "100 m"} <= set(_words(named))


def test_a_share_that_grows_steps_at_its_values_and_ends_where_it_stands() -> None:
    linear = replace(PANEL, y_range=(0.0, 1.0), y_log=False)
    svg = panels.drawing(400, 300, "", [linear.grown([8.0, 2.0, 20.0], 4, "")])
    (curve,) = _marks(svg, "polyline")
    assert _points(curve) == [(100, 250), (140, 250), (140, 200), (260, 200), (260, 150), (300, 150)]
    crowd = linear.grown([k / 1000.0 for k in range(10_000)], 10_000, "")
    assert crowd.count(",") < 1000
    assert _points(ElementTree.fromstring(crowd))[-1] == (300.0, 50.0)


def _start(map_km2: float, agl_m: float, frames: int, *, found: bool = True, wrong: int = 0) -> object:
    return runs.Start("w-0", agl_m, map_km2, found, frames, frames / 2.0, 10.0 * frames, wrong)


def test_starts_are_drawn_by_map_and_height_and_those_cut_off_as_rings() -> None:
    starts = [_start(4.41, 100.0, 3), _start(4.41, 300.0, 4, found=False), _start(25.0, 100.0, 5, wrong=1)]
    misled = [_start(25.0, 100.0, 9)]
    groups = convergence.grouped(starts, misled)
    assert {name: len(group) for name, group in groups.items()} == {"4 km²": 2, "25 km²": 1, "25 km², wrong hint": 1}
    svg = convergence.picture(groups)
    assert len(_marks(svg, "circle", r="2.6")) == 3
    assert len(_marks(svg, "circle", r="4.5")) == 1
    assert "4 starts, 1 with a false fix" in _words(svg)
    curves = [_points(node) for node in _marks(svg, "polyline") if "2.5" in node.attrib["style"]]
    assert len(curves) == 3
    ends = [330.0 - 260.0 * share for share in (0.5, 1.0, 1.0)]
    assert [curve[-1][1] for curve in curves] == pytest.approx(ends, abs=0.1)


def _answers(kinds: str) -> list[Answer]:
    """A flight eastwards, a letter for each frame: f(ix), c(oast), n(one), w(rong)."""
    answers = []
    for k, kind in enumerate(kinds):
        truth = LOCAL.to_geodetic(10.0 * k, 0.0)
        off_m = 60.0 if kind == "w" else 1.0
        lat_deg, lon_deg = LOCAL.to_geodetic(10.0 * k, off_m)
        fix = Fix(
            0, FixKind.COAST if kind == "c" else FixKind.FIX, lat_deg, lon_deg, 10.0 * k, off_m,
            Covariance(1.0, 0.0, 1.0), 0.0,
        )  # fmt: skip
        position = NoFix(0, Reason.AMBIGUOUS) if kind == "n" else fix
        answers.append(judge(str(k), 0.5 * k, position, truth, LOCAL, 0.5))
    return answers


def test_a_track_shows_every_position_its_error_and_what_was_false() -> None:
    svg = tracks.picture(_answers("nffcfw"), LOCAL, "Flight")
    assert len(_marks(svg, "circle", **{"class": "fix"})) == 2 * 4  # on the track, and by its error
    assert len(_marks(svg, "circle", **{"class": "coast"})) == 2
    assert len(_marks(svg, "circle", **{"class": "wrong"})) == 2
    strip = [node for node in _marks(svg, "rect", height="12.0") if float(node.attrib["y"]) < 400.0]
    assert len(strip) == 4  # none, fixes, coast, fixes
    truth = _points(_marks(svg, "polyline")[0])
    assert len(truth) == 6
    assert truth[0][0] < truth[-1][0]
    assert "Flight" in _words(svg)


def test_flights_below_each_other_share_a_scale() -> None:
    svg = tracks.rows_picture({"one": _answers("ff"), "two": _answers("fn")}, "Both")
    assert {"Both", "one", "two"} <= set(_words(svg))
    dots = _marks(svg, "circle", **{"class": "fix"})
    heights = [float(node.attrib["cy"]) for node in dots]
    assert heights[2] - heights[0] == pytest.approx(154.0, abs=0.1)


def _score(kinds: str) -> Score:
    return score(_answers(kinds))


def test_ages_are_counted_in_years_either_way() -> None:
    replays = [
        real.Aged(2014, 2010, _score("ffff")),
        real.Aged(2010, 2014, _score("ffnn")),
        real.Aged(2017, 2016, _score("fw")),
    ]
    svg = real.ages_picture(replays)
    assert "3 flights, 10 frames, 1 false fixes" in _words(svg)
    dots = [node for node in _marks(svg, "circle") if float(node.attrib["cx"]) < 520.0]
    assert [node.get("class") for node in dots] == ["fix", "coast", "none"]
    places = [float(node.attrib["cx"]) for node in dots]
    panel_m = (500.0 - 66.0) / 5.0
    assert [round((x - 66.0) / panel_m) for x in places] == [4, 4, 1]
    assert float(dots[1].attrib["cy"]) == pytest.approx(0.5 * (64 + 320))


def test_refusals_are_as_long_as_their_counts_and_positions_stand_out() -> None:
    silent = replace(_score("nnnn"), reasons={"NO_MATCH": 1, "AMBIGUOUS": 3})
    svg = real.refusals_picture({"silent": silent, "not so": _score("nf")})
    bars = _marks(svg, "rect", height="18.0")
    widths = [float(node.attrib["width"]) for node in bars]
    assert widths == pytest.approx([165.0, 495.0, 165.0, 165.0], abs=0.2)
    assert bars[-1].attrib["style"] == "fill:var(--false)"
    assert bars[0].attrib["style"] != bars[1].attrib["style"]
    assert {"silent", "not so"} <= set(_words(svg))


def test_methods_stand_side_by_side_with_what_they_place_wrongly() -> None:
    rows = [
        {"method": "good", "availability": 1.0, "median_error_m": 1.0, "p95_error_m": 5.0, "false_fixes": 0},
        {"method": "bad", "availability": 0.25, "median_error_m": None, "p95_error_m": None, "false_fixes": 7},
    ]
    svg = real.registration_picture({"here on there": rows})
    assert {"good", "bad", "25 %", "7 false", "here on there: frames accepted"} <= set(_words(svg))
    assert "0 false" not in _words(svg)
    assert [float(node.attrib["width"]) for node in _marks(svg, "rect", height="18.0")] == pytest.approx([310.0, 77.5])
    assert len(_marks(svg, "circle")) == 1


def test_flights_without_a_heading_show_when_they_were_found_if_ever() -> None:
    records = [
        figures.Record(name, {"agl_m": agl_m}, {}, tuple(_answers(kinds)), *([[(0.0, 0.0)] * 4] * 2), 1.0)
        for name, agl_m, kinds in (("a", 100.0, "nnff"), ("b", 200.0, "nnnn"))
    ]
    svg = headless.picture([replace(one, truth_m=_places(4)) for one in records], [0.5, 1.0, 3.0])
    assert "2 flights, 1 without any fix" in _words(svg)
    (found,), (never,) = (_marks(svg, "circle", **{"class": kind}) for kind in ("fix", "wrong"))
    assert float(found.attrib["cy"]) == pytest.approx(330.0 - 266.0 * 0.75)
    assert float(never.attrib["cy"]) == 64.0
    assert _points(_marks(svg, "polyline")[-1])[-1][1] == 64.0


def _places(count: int) -> object:
    return figures.np.array([(10.0 * k, 0.0) for k in range(count)])


def test_drift_is_drawn_over_time_and_says_when_it_was_warned_of() -> None:
    same, fallen = drift.Drifted((1.0, 0.9, 1.0), None, 3), drift.Drifted((1.0, 0.6, 0.5), 4.0, 2)
    assert (fallen.frames, fallen.least, fallen.last) == (3, 0.5, 0.5)
    svg = drift.picture({"map of 2017, over 2020": {"the same": same, "hazy": fallen}})
    assert "Matches against the flight's start, map of 2017, over 2020" in _words(svg)
    assert {"3 of 3 matched", "2 of 3 matched, warned of after 4 s"} <= set(_words(svg))
    curves = [_points(node) for node in _marks(svg, "polyline") if "stroke-width:2" in node.attrib["style"]]
    assert [len(curve) for curve in curves] == [3, 3]
    assert curves[1][-1][1] > curves[0][-1][1]
