"""Flies the daemon on its real link among hostile MAVLink traffic, and compares with the undisturbed flight.

Three flights of a stepped clock, each of them also without any hostile packet:

  plain     no key. Strangers send everything; from the vehicle's own address come noise, cut packets and other systems.
  signed    a key. The attacker also speaks from the vehicle's address and host, with its ids, and repeats its packets.
  believed  no key, and the attacker has the vehicle's address and ids: nothing tells him from the vehicle. Only that
            nothing breaks, and that nothing that is not finite leaves.

In `plain` and `signed` every byte that tilefix sends has to be the undisturbed flight's, at the same turn. The
vehicle's own packets are lost for eight seconds on the way, in which nobody may take its place.

    python tools/fuzz_link.py                            # a million packets
    python tools/fuzz_link.py --packets 20000
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from hostile_packets import HOME, Hostile
from link_flight import COMPONENT, SYSTEM, TURN_NS, LinkFlight
from machine import facts_of_this_machine, report

SEED = 1600
MODES = ("plain", "signed", "believed")


def fly(mode: str, seed: int, seconds: float, packets: int) -> tuple[LinkFlight, dict[str, Any]]:
    """One flight with so many hostile packets spread over it, and what they cost."""
    # Without a key who speaks first is the vehicle: it is there before anybody else. With one that does not matter.
    flight = LinkFlight(seed, HOME, seconds, signed=mode == "signed")
    hostile = Hostile(seed, SYSTEM, COMPONENT, signed=mode == "signed", believed=mode == "believed")
    order, turns = random.Random(seed + 1), round(seconds * 1e9 / TURN_NS)
    kinds: Counter[str] = Counter()
    took_ns, worst_ns, sent, data_bytes, memory_kib = 0, 0, 0, 0, 0
    for turn in range(turns):
        own = flight.packets()
        share = round(packets * (turn + 1) / turns) - sent if mode == "signed" or flight.link.system_id else 0
        sent += share
        pieces: list[Any] = []
        for _ in range(share):
            kind, data, address = hostile.one()
            kinds[kind] += 1
            data_bytes += len(data)
            pieces.append((data, address))
        # The vehicle's packets stay in order; what is hostile comes anywhere between them.
        places = sorted(order.choices(range(len(pieces) + 1), k=len(own)))
        for before, (place, packet) in enumerate(zip(places, own, strict=True)):
            pieces.insert(place + before, (packet, HOME))
            hostile.saw(packet)
        begun_ns = time.thread_time_ns()
        flight.turn(pieces)
        turn_ns = time.thread_time_ns() - begun_ns
        took_ns += turn_ns
        worst_ns = max(worst_ns, turn_ns)
        if turn == turns // 4:
            memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kib
    return flight, {
        "packets": sent,
        "bytes": data_bytes,
        "kinds": dict(kinds),
        "daemon_s": round(took_ns / 1e9, 3),
        "worst_turn_ms": round(worst_ns / 1e6, 3),
        "memory_grown_kib": grown_kib,
        "addresses_kept": len(flight.link.gate._framers),
    }


def positions(flight: LinkFlight) -> list[Any]:
    """The positions that tilefix sent."""
    parser = mavlink.MAVLink(None)
    heard = [parser.decode(bytearray(data)) for _, data, _ in flight.sent]
    return [one for one in heard if one.get_type() == "GPS_INPUT"]


def sound(flight: LinkFlight) -> bool:
    """True when every position sent is one on Earth, with finite numbers."""
    return all(
        abs(one.lat) <= 900_000_000
        and abs(one.lon) <= 1_800_000_000
        and all(map(math.isfinite, (one.alt, one.vn, one.ve, one.vd, one.horiz_accuracy, one.speed_accuracy)))
        for one in positions(flight)
    )


def trial(mode: str, seed: int, seconds: float, packets: int) -> dict[str, Any]:
    """A flight with and one without hostile traffic, compared."""
    quiet, cost = fly(mode, seed, seconds, 0)
    loud, found = fly(mode, seed, seconds, packets)
    pairs = zip(quiet.sent, loud.sent, strict=False)
    first = next((mine[0] for mine, other in pairs if mine != other), None)
    extra_us = (found["daemon_s"] - cost["daemon_s"]) / max(packets, 1) * 1e6
    return found | {
        "mode": mode,
        "seconds": seconds,
        "positions": len(positions(loud)),
        "positions_undisturbed": len(positions(quiet)),
        "identical": quiet.sent == loud.sent,
        "first_difference_turn": first,
        "finite": sound(loud),
        "us_per_packet": round(extra_us, 2),
    }


def measure(packets: int, seconds: float, seed: int) -> dict[str, Any]:
    """All flights, the packets shared among them."""
    logging.disable(logging.CRITICAL)
    shares = {"plain": 0.4, "signed": 0.4, "believed": 0.2}
    trials = [trial(mode, seed + at, seconds, round(shares[mode] * packets)) for at, mode in enumerate(MODES)]
    return {"machine": facts_of_this_machine(), "seed": seed, "trials": trials, "passed": all(map(passed, trials))}


def passed(found: dict[str, Any]) -> bool:
    """What each flight has to keep."""
    undisturbed = found["identical"] or found["mode"] == "believed"
    return bool(undisturbed and found["finite"] and found["positions_undisturbed"] > 0 and found["addresses_kept"] <= 8)


def text(found: dict[str, Any]) -> str:
    """A line for each flight."""
    lines = [
        f"{one['mode']:9s} {one['packets']:8d} hostile packets, {one['bytes'] / 1e6:.0f} MB: "
        f"{one['positions']} positions (undisturbed {one['positions_undisturbed']}), "
        f"{'every byte the same' if one['identical'] else 'other bytes'}, "
        f"{one['us_per_packet']:.1f} us a packet, worst turn {one['worst_turn_ms']:.0f} ms, "
        f"memory +{one['memory_grown_kib']} KiB"
        for one in found["trials"]
    ]
    return "\n".join([*lines, "passed" if found["passed"] else "FAILED"])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the flights; 0 when they keep what they have to, 1 when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=1_000_000, help="hostile packets in all")
    parser.add_argument("--seconds", type=float, default=90.0, help="length of each flight")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, default=Path("out/fuzz_link.json"))
    args = parser.parse_args(argv)
    outcome: dict[str, Any] = {}

    def measured() -> dict[str, Any]:
        outcome.update(measure(args.packets, args.seconds, args.seed))
        return outcome

    status = report("fuzz_link", args.json, measured, text)
    return status or int(not outcome["passed"])


if __name__ == "__main__":
    sys.exit(main())
