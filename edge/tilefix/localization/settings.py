"""What an operator may tune of the localizer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LocalizerSettings:
    """What an operator may tune. Sigmas are one standard deviation."""

    max_tilt_deg: float = 35.0
    attitude_sigma_deg: float = 0.35  # error of the attitude, most of it slow
    mount_sigma_deg: float = 0.1  # constant error of the mount
    surface_sigma_m: float = 1.0  # of what is seen against the map's terrain, beside what they differ by everywhere
    heading_error_deg: float = 25.0  # largest heading error looked for when the place is unknown; 180: any heading
    height_error: float = 0.17  # largest relative height error looked for
    map_sigma_m: float = 0.6  # georeferencing error of the map, and what sun and season move its edges by
    max_speed_mps: float = 35.0
    acceleration_mps2: float = 1.5  # of usual manoeuvres, as white noise over a second
    odometry_drift: float = 0.07  # of the distance flown: 4 degrees of heading
    search_budget_px: int = 4_500_000
    settle_probability: float = 0.999
    settle_evidence: float = 16.0  # log likelihood ratio that the pictures alone must give, hint or no hint
    settle_z_score: float = 7.0
    settle_support: float = 0.45
    track_z_score: float = 5.0
    lose_probability: float = 0.5
    research_after_s: float = 1.5  # without a match; 0 searches the whole map for every frame, the place being likelier
    max_coast_s: float = 10.0  # without a match
    max_blind_s: float = 3.0  # without camera motion: a turn of 3 m/s2 then stays within 3 sigma
    max_sigma_m: float = 30.0
