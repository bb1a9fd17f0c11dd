"""The ways to give an autopilot a position: a whole position in, the report out, or why there is none."""
