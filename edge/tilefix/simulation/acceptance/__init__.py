"""What autopilots accept of positions that come from outside, and what they refuse: one rule a module, all pure."""
