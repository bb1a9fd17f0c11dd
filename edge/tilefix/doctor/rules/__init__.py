"""The rules, one file for each concern; this table is all of them."""

from __future__ import annotations

from tilefix.doctor.rules import alignment, connection, delay, estimator, failsafe, px4, receiver, sources, vision

RULES = (
    *estimator.RULES,
    *receiver.RULES,
    *delay.RULES,
    *sources.RULES,
    *vision.RULES,
    *alignment.RULES,
    *failsafe.RULES,
    *connection.RULES,
    *px4.RULES,
)
