#!/usr/bin/env bash
# Takes tilefix off a board again: what provision.sh and install.sh made, and nothing else. Run by provision.sh --uninstall.
set -euo pipefail
PROGRAM=uninstall
# shellcheck source=deploy/lib.sh
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
OPT=/opt/tilefix ETC=/etc/tilefix STATE=/var/lib/tilefix
RECORD=$ETC/provision/record

on_running_system() { if [ -d /run/systemd/system ]; then act "$@" || warn "failed: $*"; fi; }

# Read whole before it starts: it removes the folder that it lies in.
main() {
    case ${1:-} in
    --purge | --keep) ;;
    *) die "--purge removes configuration, maps and recordings as well, --keep leaves them" ;;
    esac
    [ "$DRY_RUN" = yes ] || [ "$(id -u)" -eq 0 ] || die "run it as root (sudo)"
    [ -f "$RECORD" ] || die "$RECORD is missing: provision.sh has not set this board up"
    local kind what lines=()
    mapfile -t lines < <(tac "$RECORD")
    local line
    for line in "${lines[@]}"; do
        kind=${line%% *} what=${line#* }
        if [ "$kind" = unit ]; then
            on_running_system systemctl stop "$what"
            act systemctl disable -q "$what"
        fi
    done
    for line in "${lines[@]}"; do
        kind=${line%% *} what=${line#* }
        case $what in "$ETC" | "$ETC"/* | "$STATE"/*) continue ;; esac
        case $kind in
        file | link) act rm -f "$what" "$what.partial" ;;
        # Others may have put files there since.
        dir) act rmdir --ignore-fail-on-non-empty "$what" ;;
        disabled)
            if [ -e "/etc/systemd/system/$what" ] || [ -e "/lib/systemd/system/$what" ]; then act systemctl enable -q "$what"; fi
            ;;
        esac
    done
    on_running_system systemctl daemon-reload
    if [ -S /run/udev/control ]; then act udevadm control --reload; fi
    act rm -rf "$OPT" /opt/tilefix-payload
    if [ "$1" = --purge ]; then
        act rm -rf "$ETC" "$STATE"
        if getent passwd tilefix >/dev/null; then act userdel tilefix; fi
        say "tilefix is gone"
    else
        act rm -f "$ETC/provision/done"
        say "tilefix is gone; $ETC and $STATE stay (provision.sh --uninstall --purge removes them, too)"
    fi
}

main "$@"
exit
