#!/usr/bin/env bash
# Sets a Jetson's power mode and clocks from /etc/tilefix/power.env; run by tilefix-power.service.
set -euo pipefail
PROGRAM=power
# shellcheck source=deploy/lib.sh
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

# nvpmodel's number of the mode; empty leaves what the board has. `nvpmodel -p --verbose` lists them.
MODE=${NVPMODEL_MODE-}
# yes: all clocks at the maximum of the mode, so that latency does not depend on what ran before.
CLOCKS=${JETSON_CLOCKS-yes}

need_command nvpmodel
if [ -n "$MODE" ]; then
    [[ $MODE =~ ^[0-9]+$ ]] || die "NVPMODEL_MODE=$MODE in /etc/tilefix/power.env: a number (nvpmodel -p --verbose)"
    # The last line that nvpmodel -q prints is the number of the mode.
    now=$(nvpmodel -q | tail -n 1)
    if [ "$now" = "$MODE" ]; then
        say "power mode $MODE already"
    else
        nvpmodel -m "$MODE" </dev/null || die "power mode $MODE was refused; one that needs a restart is set by hand: nvpmodel -m $MODE"
        say "power mode $MODE, before: $now"
    fi
fi
case $CLOCKS in
yes)
    need_command jetson_clocks
    jetson_clocks
    say "clocks at their maximum"
    ;;
no) say "clocks as the board sets them" ;;
*) die "JETSON_CLOCKS=$CLOCKS in /etc/tilefix/power.env: yes or no" ;;
esac
