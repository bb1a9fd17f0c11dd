"""A localizer's replay over a flight: its scores and its report."""
