"""Flights for the judge of vision and GNSS: recorded answers of the localizer beside a generated receiver.

The answers are those that `tools/evaluate_flights.py run` kept; the receiver is the truth with slow and fast errors,
led away by a spoofer or not. Long flights are generated: errors of the size and the memory of recorded ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from generated_figures import Record
from tilefix.handover.judge import Judge
from tilefix.handover.scoring import Verdict
from tilefix.links.messages import GnssReceiver
from tilefix.types import Covariance, Fix, FixKind, Float64Array, NoFix

S = 1_000_000_000
M_PER_DEG = math.pi * 6_371_000.0 / 180.0
RECEIVER_HZ = 5.0
DELAY_S, DELAY_JITTER_S = 0.1, 0.05
SLOW_M, SLOW_S, FAST_M, STATED_M = 1.2, 120.0, 0.3, 1.2
SPEED_NOISE_MPS = 0.1


@dataclass(frozen=True)
class Track:
    """A flight as vision answered it: answers in order of time, and the truth at each, metres from `lat_deg`,
    `lon_deg` with velocities."""

    name: str
    answers: tuple[Fix | NoFix, ...]
    truth_m: Float64Array
    truth_mps: Float64Array
    lat_deg: float
    lon_deg: float

    @property
    def times_s(self) -> Float64Array:
        """Of the answers."""
        return np.array([one.at_ns for one in self.answers]) / S

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return float(self.times_s[-1] - self.times_s[0])


@dataclass(frozen=True)
class Attack:
    """What is done from `start_s` on: the receiver is led away at `ramp_mps`, or steps by `step_m`, up to `most_m`;
    vision is shifted by `canary_m` (from the start of the flight where `canary_from_start`)."""

    start_s: float = 0.0
    ramp_mps: float = 0.0
    step_m: float = 0.0
    most_m: float = 1e9
    canary_m: float = 0.0
    canary_from_start: bool = False
    direction_rad: float = 0.0

    def pull_m(self, time_s: float) -> float:
        """How far the receiver is led away."""
        if time_s < self.start_s:
            return 0.0
        return min(self.step_m + self.ramp_mps * (time_s - self.start_s), self.most_m)


def track_of(record: Record) -> Track:
    """The track of a replayed flight, from its first fix on."""
    first = next(k for k, one in enumerate(record.answers) if one.kind == "fix")
    begun_s = record.answers[first].time_s
    answers = []
    for one in record.answers[first:]:
        at_ns = round((one.time_s - begun_s) * S)
        answers.append(replace(one.position, at_ns=at_ns))
    origin = record.answers[first].truth
    assert origin is not None
    fixes = np.array([one.truth for one in record.answers[first:]])
    across = math.cos(math.radians(origin[0]))
    truth = np.column_stack([(fixes[:, 1] - origin[1]) * across, fixes[:, 0] - origin[0]]) * M_PER_DEG
    return Track(record.name, tuple(answers), truth, record.truth_mps[first:], *origin)


def drift(rng: np.random.Generator, times_s: Float64Array, sigma: float, memory_s: float) -> Float64Array:
    """(n, 2) of a first-order Gauss-Markov process."""
    values = np.zeros((len(times_s), 2))
    values[0] = rng.normal(0.0, sigma, 2)
    for k in range(1, len(times_s)):
        keep = math.exp(-(times_s[k] - times_s[k - 1]) / memory_s)
        values[k] = keep * values[k - 1] + sigma * math.sqrt(1.0 - keep * keep) * rng.normal(0.0, 1.0, 2)
    return values


def receivers(track: Track, attack: Attack, seed: int) -> list[GnssReceiver]:
    """What the receiver is heard to say along a track."""
    rng = np.random.default_rng([seed, 77])
    times_s = np.arange(track.times_s[0], track.times_s[-1] + 0.5, 1.0 / RECEIVER_HZ)
    error = drift(rng, times_s, SLOW_M, SLOW_S) + rng.normal(0.0, FAST_M, (len(times_s), 2))
    toward = np.array([math.sin(attack.direction_rad), math.cos(attack.direction_rad)])
    across = math.cos(math.radians(track.lat_deg))
    known_s = track.times_s
    places = np.column_stack([np.interp(times_s, known_s, track.truth_m[:, axis]) for axis in (0, 1)]) + error
    velocities = np.column_stack([np.interp(times_s, known_s, track.truth_mps[:, axis]) for axis in (0, 1)])
    velocities += rng.normal(0.0, SPEED_NOISE_MPS, velocities.shape)
    delays_s = np.maximum(0.02, DELAY_S + DELAY_JITTER_S * rng.normal(0.0, 1.0, len(times_s)))
    heard = []
    for time_s, place, velocity, delay_s in zip(times_s, places, velocities, delays_s, strict=True):
        pull_m = attack.pull_m(float(time_s))
        place = place + pull_m * toward
        if time_s >= attack.start_s and pull_m < attack.most_m:
            velocity = velocity + attack.ramp_mps * toward
        heard.append(
            GnssReceiver(
                at_ns=round((time_s + delay_s) * S),
                fix_type=3,
                lat_deg=track.lat_deg + place[1] / M_PER_DEG,
                lon_deg=track.lon_deg + place[0] / M_PER_DEG / across,
                amsl_m=500.0,
                horizontal_sigma_m=STATED_M,
                velocity_north_mps=float(velocity[1]),
                velocity_east_mps=float(velocity[0]),
            )
        )
    return sorted(heard, key=lambda one: one.at_ns)


@dataclass(frozen=True)
class Outcome:
    """What the judge said of one trial, in seconds from the start of the attack: when first of spoofing, of a
    contradiction without blame, of a bias, of overconfidence; `spoofed_s` of the time, and what the first verdict was
    after."""

    seconds: float
    spoofed_at_s: tuple[float, ...]
    biased_at_s: float | None
    overconfident_at_s: float | None
    consistent_at_s: float | None
    biased_share: float
    overconfident_share: float
    highest_level: float


def judged(track: Track, attack: Attack, seed: int) -> Outcome:
    """Flies the judge along a track."""
    judge = Judge()
    heard = iter(receivers(track, attack, seed))
    following = next(heard, None)
    east = math.sin(attack.direction_rad) * attack.canary_m
    north = math.cos(attack.direction_rad) * attack.canary_m
    across = math.cos(math.radians(track.lat_deg))
    claims: list[float] = []
    first: dict[Verdict, float] = {}
    counts = dict.fromkeys(Verdict, 0)
    claimed = False
    highest = 0.0
    for answer in track.answers:
        time_s = answer.at_ns / S
        # A picture is answered a third of a second later: by then the receiver has spoken of its instant.
        while following is not None and following.at_ns <= answer.at_ns + 300_000_000:
            judge.hear(following)
            following = next(heard, None)
        biased = attack.canary_m and (attack.canary_from_start or time_s >= attack.start_s)
        if biased and isinstance(answer, Fix):
            answer = replace(
                answer,
                lat_deg=answer.lat_deg + north / M_PER_DEG,
                lon_deg=answer.lon_deg + east / M_PER_DEG / across,
            )
        judge.saw(answer, gnss_good=True)
        highest = max(highest, judge.level)
        now = judge.spoofed(answer.at_ns)
        if now and not claimed:
            claims.append(time_s - attack.start_s)
        claimed = now
        verdict = judge.score.verdict
        counts[verdict] += 1
        if time_s >= attack.start_s:
            first.setdefault(verdict, time_s - attack.start_s)
    total = len(track.answers)
    return Outcome(
        track.seconds,
        tuple(claims),
        first.get(Verdict.BIASED),
        first.get(Verdict.OVERCONFIDENT),
        first.get(Verdict.CONSISTENT),
        counts[Verdict.BIASED] / total,
        counts[Verdict.OVERCONFIDENT] / total,
        highest,
    )


def long_track(seed: int, hours: float, rate_hz: float = 2.5) -> Track:
    """A generated flight of hours: fixes whose errors have the memory of recorded ones, and a size against their
    stated sigma that differs from flight to flight as theirs does."""
    rng = np.random.default_rng([seed, 78])
    times_s = np.arange(0.0, hours * 3600.0, 1.0 / rate_hz)
    sigma_m = float(rng.uniform(0.9, 3.4))
    # Root mean squared error over stated sigma: of recorded flights 0.5 to 1.8, 0.9 in the median.
    ratio = float(np.clip(rng.lognormal(math.log(0.92), 0.27), 0.5, 1.9))
    spread = sigma_m * ratio
    error = drift(rng, times_s, spread * math.sqrt(0.8), 9.0) + drift(rng, times_s, spread * math.sqrt(0.2), 60.0)
    rng.uniform()  # keeps the draws after it those of the figures written down
    velocity_error = drift(rng, times_s, 1.0, 2.5)
    truth = np.column_stack([np.zeros(len(times_s)), np.zeros(len(times_s))])
    answers = tuple(
        Fix(
            at_ns=round(time_s * S),
            kind=FixKind.FIX,
            lat_deg=47.0 + error[k, 1] / M_PER_DEG,
            lon_deg=8.0 + error[k, 0] / M_PER_DEG / math.cos(math.radians(47.0)),
            east_m=0.0,
            north_m=0.0,
            covariance_m2=Covariance(sigma_m**2, 0.0, sigma_m**2),
            match_age_s=0.0,
            velocity_east_mps=float(velocity_error[k, 0]),
            velocity_north_mps=float(velocity_error[k, 1]),
            velocity_covariance=Covariance(0.36, 0.0, 0.36),
        )
        for k, time_s in enumerate(times_s)
    )
    return Track(f"long-{seed}", answers, truth, np.zeros_like(truth), 47.0, 8.0)


def each_direction(count: int) -> Iterator[float]:
    """Directions spread over the compass."""
    yield from (2.0 * math.pi * k / count for k in range(count))


def trials(tracks: Sequence[Track], attack: Attack, draws: int, seed: int) -> list[Outcome]:
    """The attack on every track, in `draws` directions and with as many receivers."""
    return [
        judged(track, replace(attack, direction_rad=direction), seed + 1000 * number + k)
        for number, track in enumerate(tracks)
        for k, direction in enumerate(each_direction(draws))
    ]
