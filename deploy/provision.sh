#!/usr/bin/env bash
# Sets a running board up for tilefix, from a bundle and without the internet. Run it again: only what differs is changed.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PROGRAM=provision
# shellcheck source=deploy/lib.sh
. "$HERE/lib.sh"

usage() {
    cat <<'TEXT'
usage: provision.sh [--bundle BUNDLE.tar.gz] [OPTION ...]       as root, on the board
       provision.sh --uninstall [--purge]

  --bundle FILE         install it first; without it, the current version is set up again
  --key FILE            minisign's public key of the bundle, kept in /etc/tilefix/keys for updates
  --unsigned            take a bundle that is not signed
  --config NAME         config/NAME.toml of the bundle becomes /etc/tilefix/tilefix.toml, if there is none (tilefix)
  --power-mode N        nvpmodel's mode, set at every start; by default the board's own is left
  --no-clocks           do not hold the clocks at their maximum
  --ntp HOST            a time server on the drone's own network; may be given several times. No other is asked
  --mavlink-router DEV:BAUD   run mavlink-router (which must be installed) on that serial port; tilefix then takes
                        udpin:127.0.0.1:14560, a ground station UDP port 14550
  --python EXE          the Python to run on (that of the current version; python3 where there is none)
  --start               start the services now, not only when the board starts
  --no-selftest         leave the self-test out
  --uninstall           remove tilefix; configuration, maps and recordings stay
  --purge               these, too
  --dry-run             say what would be done

Exit status: 0 set up, 2 something to mend, 3 set up but the self-test says no.
TEXT
}

BUNDLE='' KEY='' UNSIGNED=no CONFIG=tilefix POWER_MODE='' CLOCKS=yes NTP='' ROUTER='' PYTHON=''
START=no SELFTEST=yes UNINSTALL=no PURGE=no
while [ "$#" -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --unsigned) UNSIGNED=yes ;;
    --no-clocks) CLOCKS=no ;;
    --start) START=yes ;;
    --no-selftest) SELFTEST=no ;;
    --uninstall) UNINSTALL=yes ;;
    --purge) PURGE=yes ;;
    --dry-run) DRY_RUN=yes ;;
    *)
        has_value "$@"
        case $1 in
        --bundle) BUNDLE=$2 ;;
        --key) KEY=$2 ;;
        --config) CONFIG=$2 ;;
        --power-mode) POWER_MODE=$2 ;;
        --ntp) NTP="${NTP:+$NTP }$2" ;;
        --mavlink-router) ROUTER=$2 ;;
        --python) PYTHON=$2 ;;
        *) die "unknown option $1 (see --help)" ;;
        esac
        shift
        ;;
    esac
    shift
done

OPT=/opt/tilefix ETC=/etc/tilefix STATE=/var/lib/tilefix
# What root removes by it must not be the service's to write.
RECORD=$ETC/provision/record
CHANGES=0

[ "$DRY_RUN" = yes ] || [ "$(id -u)" -eq 0 ] || die "run it as root (sudo), or with --dry-run"
if [ "$UNINSTALL" = yes ]; then
    export DRY_RUN
    exec "$HERE/uninstall.sh" "$([ "$PURGE" = yes ] && echo --purge || echo --keep)"
fi
[ "$PURGE" = no ] || die "--purge goes with --uninstall"
if [ -n "$BUNDLE" ]; then need_file --bundle "$BUNDLE"; fi
if [ -n "$KEY" ]; then need_file --key "$KEY"; fi
[[ $CONFIG =~ ^[a-z0-9][a-z0-9_-]*$ ]] || die "--config $CONFIG: the name of a file in config/, without .toml"
[[ $POWER_MODE =~ ^[0-9]*$ ]] || die "--power-mode $POWER_MODE: a number (nvpmodel -p --verbose)"
[[ $NTP =~ ^[A-Za-z0-9.:\ -]*$ ]] || die "--ntp: a host name or address"
if [ -n "$ROUTER" ]; then
    [[ $ROUTER =~ ^/dev/[A-Za-z0-9/_-]+:[0-9]+$ ]] || die "--mavlink-router $ROUTER: such as /dev/ttyTHS1:921600"
    [ "$DRY_RUN" = yes ] || [ -x /usr/bin/mavlink-routerd ] || die "/usr/bin/mavlink-routerd is not installed (build it, or leave the option out)"
fi
umask 022

changed() {
    CHANGES=$((CHANGES + 1))
    say "$*"
}

# Notes what is about to be made, so that uninstall.sh finds it even when power is cut right after.
remember() {
    if [ "$DRY_RUN" = no ] && ! grep -qxF -- "$*" "$RECORD" 2>/dev/null; then printf '%s\n' "$*" >>"$RECORD"; fi
}

# folder PATH MODE OWNER: makes it, or mends its mode and owner. Only for folders that lie in one of root's: nobody else can
# put a link in their place.
folder() {
    if [ -L "$1" ]; then
        warn "$1 is a link: what it leads to stays as it is"
        return
    fi
    if [ -d "$1" ] && [ "$(stat -c '%a %U:%G' "$1")" = "$2 $3" ]; then return; fi
    changed "folder $1"
    act install -d -m "$2" -o "${3%:*}" -g "${3#*:}" "$1"
}

# service_folder PATH: makes it as the service's user, in the folder of that user: what it has put there, links for one, is
# followed with its own rights, never with root's.
service_folder() {
    if [ -d "$1" ]; then return; fi
    if act runuser -u tilefix -- mkdir -m 750 "$1"; then
        changed "folder $1"
    else
        warn "$1 cannot be made: look at what lies there"
    fi
}

# put PATH MODE OWNER: standard input becomes that file, if it differs. Answers 0 when it was changed.
put() {
    local new
    new=$(mktemp)
    cat >"$new"
    if cmp -s "$new" "$1" && [ "$(stat -c '%a %U:%G' "$1")" = "$2 $3" ]; then
        rm "$new"
        return 1
    fi
    [ -e "$1" ] || remember "file $1"
    changed "file $1"
    # Inside a condition set -e does not hold.
    { act install -m "$2" -o "${3%:*}" -g "${3#*:}" "$new" "$1.partial" && act mv "$1.partial" "$1"; } || die "cannot write $1"
    rm "$new"
}

# parent PATH: the folder of a drop-in, remembered when it is ours, and those that it lies in.
parent() {
    if [ ! -d "$1" ]; then
        parent "$(dirname "$1")"
        remember "dir $1"
        act install -d -m 755 "$1"
    fi
}

make_user() {
    if ! getent passwd tilefix >/dev/null; then
        changed "user tilefix"
        act useradd --system --user-group --home-dir "$STATE/state" --no-create-home --shell /usr/sbin/nologin tilefix
    fi
    local group
    # Serial ports, cameras, the GPU.
    for group in dialout video render; do
        if getent group "$group" >/dev/null && [[ " $(id -nG tilefix 2>/dev/null) " != *" $group "* ]]; then
            changed "group $group for tilefix"
            act usermod -a -G "$group" tilefix
        fi
    done
}

make_folders() {
    folder "$ETC" 755 root:root
    folder "$ETC/provision" 755 root:root
    folder "$ETC/keys" 755 root:root
    # Root's, and read-only to the service: what root writes there can lead nowhere else.
    local name
    for name in "$STATE" "$STATE/maps" "$STATE/models"; do folder "$name" 750 root:tilefix; done
    # The service's own, and all that it may write.
    folder "$STATE/state" 750 tilefix:tilefix
    for name in engine recordings signing; do service_folder "$STATE/state/$name"; done
}

install_version() {
    if [ -n "$KEY" ]; then put "$ETC/keys/$(basename "${KEY%.pub}").pub" 644 root:root <"$KEY" || true; fi
    if [ -n "$BUNDLE" ]; then
        local before options=()
        if [ -n "$PYTHON" ]; then options+=(--python "$PYTHON"); fi
        before=$(readlink $OPT/current || true)
        if [ "$UNSIGNED" = yes ]; then options+=(--unsigned); fi
        act "$HERE/install.sh" "${options[@]}" "$BUNDLE"
        if [ "$(readlink $OPT/current || true)" != "$before" ]; then changed "version $(readlink $OPT/current)"; fi
    fi
    if [ "$DRY_RUN" = yes ] && [ ! -d $OPT/current ]; then
        # What the script lies beside: in a bundle one folder up, in the repository its own.
        FROM=$(dirname "$HERE")
        [ -d "$FROM/config" ] || FROM=$HERE
    else
        [ -f $OPT/current/.complete ] || die "no version is installed (give --bundle)"
        FROM=$OPT/current
    fi
    if [ "$(readlink /usr/local/bin/tilefix || true)" != $OPT/current/venv/bin/tilefix ]; then
        [ ! -e /usr/local/bin/tilefix ] || die "/usr/local/bin/tilefix is somebody else's (move it away)"
        remember "link /usr/local/bin/tilefix"
        changed "command tilefix"
        act ln -sfn $OPT/current/venv/bin/tilefix /usr/local/bin/tilefix
    fi
}

# What the board lacks of JetPack, from the bundle. Once it is installed the packages are only in the way.
install_debs() {
    local deb missing=()
    for deb in "$FROM"/debs/*.deb; do
        [ -f "$deb" ] || continue
        # shellcheck disable=SC2016 # dpkg's own variables
        if [ "$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$(dpkg-deb -f "$deb" Package)" 2>/dev/null || true)" != \
            "installed $(dpkg-deb -f "$deb" Version)" ]; then
            missing+=("$(realpath "$deb")")
        fi
    done
    if [ "${#missing[@]}" -gt 0 ]; then
        changed "${#missing[@]} packages of JetPack"
        act env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    fi
    if [ -d "$FROM/debs" ]; then act rm -rf "$FROM/debs"; fi
}

configure() {
    if [ ! -e "$ETC/tilefix.toml" ]; then
        need_file --config "$FROM/config/$CONFIG.toml"
        put "$ETC/tilefix.toml" 640 root:tilefix <"$FROM/config/$CONFIG.toml" || true
    fi
    if [ ! -e "$ETC/power.env" ] || [ -n "$POWER_MODE" ] || [ "$CLOCKS" = no ]; then
        put "$ETC/power.env" 644 root:root <<TEXT || true
# Read by tilefix-power.service. NVPMODEL_MODE: a number that nvpmodel -p --verbose lists; empty leaves the board's own.
NVPMODEL_MODE=$POWER_MODE
# yes: clocks at their maximum
JETSON_CLOCKS=$CLOCKS
TEXT
    fi
    local map
    for map in "$FROM"/maps/*/; do
        if [ -d "$map" ]; then put_map "$map"; fi
    done
}

# roots_alone PATH: whether it is a folder, and no link, in which nobody but root may put anything.
roots_alone() { [ -n "$(find "$1" -maxdepth 0 -type d -uid 0 ! -perm /022 2>/dev/null)" ]; }

# put_map DIR: the map of a bundle, as a version of the slot maps/NAME (tilefix update puts later ones beside it). One that
# is in use is not replaced: maps are updated for themselves.
put_map() {
    local slot version path others=''
    slot=$STATE/maps/$(basename "$1")
    version=$(sha256sum "$1/manifest.json" | cut -c1-16)
    for path in "$slot" "$slot/versions"; do
        if { [ -L "$path" ] || [ -e "$path" ]; } && ! roots_alone "$path"; then others=$path; fi
    done
    if [ -e "$slot/current" ]; then
        [ -z "$others" ] || warn "$others is not root's alone: the map in use may be swapped for another (chown, chmod go-w)"
        [ "$(readlink "$slot/current")" = "versions/$version" ] ||
            say "map $(basename "$1"): another version is in use and stays (tilefix update --map $1 takes this one)"
        return
    fi
    [ -z "$others" ] || die "$others is no folder of root's alone (look at it, and remove it)"
    changed "map $(basename "$1")"
    act rm -rf "$slot/versions/$version"
    act mkdir -p "$slot/versions/$version"
    act cp -r "$1/." "$slot/versions/$version"
    act sync
    act touch "$slot/versions/$version/.complete"
    act ln -s "versions/$version" "$slot/current"
}

set_up_system() {
    UNITS_CHANGED=no
    parent /etc/udev/rules.d
    if put /etc/udev/rules.d/70-tilefix.rules 644 root:root <"$FROM/udev/70-tilefix.rules"; then
        on_running_udev control --reload
        on_running_udev trigger --subsystem-match=tty
    fi
    # A log that cannot fill the disk, on disk after a crash.
    parent /etc/systemd/journald.conf.d
    local log=(Storage=persistent SystemMaxUse=200M RuntimeMaxUse=32M SyncIntervalSec=30s)
    if put /etc/systemd/journald.conf.d/tilefix.conf 644 root:root < <(printf '%s\n' '[Journal]' "${log[@]}"); then
        on_running_system systemctl try-restart systemd-journald.service
    fi
    # Only time servers that were named: a drone asks nobody on the internet. Fixes do not need the time of day.
    local servers=/etc/systemd/timesyncd.conf.d/tilefix.conf
    parent "${servers%/*}"
    if [ ! -e $servers ] || [ -n "$NTP" ]; then
        if put $servers 644 root:root < <(printf '%s\n' '[Time]' "NTP=$NTP" FallbackNTP=); then
            if systemctl cat systemd-timesyncd.service >/dev/null 2>&1; then
                on_running_system systemctl try-restart systemd-timesyncd.service
            fi
        fi
    fi
    # JetPack's login prompt holds the serial port of the 40-pin header.
    if [ "$(unit_state nvgetty.service)" = enabled ]; then
        remember "disabled nvgetty.service"
        changed "no login prompt on the serial port"
        act systemctl disable nvgetty.service
        on_running_system systemctl stop nvgetty.service
    fi
    # Outside the versions, so that it can take back one that does not start.
    if [ -f "$FROM/deploy/guard.sh" ]; then
        put $OPT/guard.sh 755 root:root <"$FROM/deploy/guard.sh" || true
    fi
    local path unit enabled=(tilefix-power.service)
    for path in "$FROM"/systemd/*; do
        unit=$(basename "$path")
        case $unit in
        tilefix-firstboot.service) continue ;;
        mavlink-router.service) [ -n "$ROUTER" ] || continue ;;
        esac
        if put "/etc/systemd/system/$unit" 644 root:root <"$path"; then UNITS_CHANGED=yes; fi
    done
    # Came with the image, from flash_jetson.sh.
    if [ -e /etc/systemd/system/tilefix-firstboot.service ]; then
        remember "file /etc/systemd/system/tilefix-firstboot.service"
        remember "unit tilefix-firstboot.service"
    fi
    for unit in tilefix-engine tilefix; do
        if [ -f "$FROM/systemd/$unit.service" ]; then enabled+=("$unit.service"); fi
    done
    if [ -n "$ROUTER" ]; then
        enabled+=(mavlink-router.service)
        put "$ETC/mavlink-router.conf" 644 root:root <<TEXT || true
[General]
TcpServerPort=0
[UartEndpoint autopilot]
Device=${ROUTER%:*}
Baud=${ROUTER##*:}
[UdpEndpoint tilefix]
Mode=Normal
Address=127.0.0.1
Port=14560
[UdpEndpoint groundstation]
Mode=Server
Address=0.0.0.0
Port=14550
TEXT
    fi
    if [ "$UNITS_CHANGED" = yes ]; then on_running_system systemctl daemon-reload; fi
    for unit in "${enabled[@]}"; do
        if [ "$(unit_state "$unit")" != enabled ]; then
            remember "unit $unit"
            changed "enabled $unit"
            act systemctl enable -q "$unit"
        fi
    done
    # Not waited for: at the first start this script runs in a service that they come after.
    if [ "$START" = yes ]; then on_running_system systemctl start --no-block "${enabled[@]}"; fi
}

unit_state() { systemctl is-enabled "$1" 2>/dev/null || true; }

# In an image that is not running there is nobody to tell; where a service is missing (udev in a container) it need not be.
on_running_system() { if [ -d /run/systemd/system ]; then act "$@" || warn "failed: $*"; fi; }

# A container has systemd, but no udev.
on_running_udev() { if [ -S /run/udev/control ]; then act udevadm "$@"; fi; }

self_test() {
    local command=/usr/local/bin/tilefix
    [ "$DRY_RUN" = no ] || return 0
    if ! $command --help | grep '^ *selftest ' >/dev/null; then
        warn "this version has no self-test"
        return 0
    fi
    # As the service will run: not as root.
    runuser -u tilefix -- $command selftest "$ETC/tilefix.toml"
}

need_command "${PYTHON:-python3}" systemctl openssl flock
make_user
make_folders
install_version
install_debs
configure
set_up_system
if [ "$DRY_RUN" = no ]; then
    [ -e "$ETC/provision/done" ] || : >"$ETC/provision/done"
fi
if [ "$CHANGES" -eq 0 ]; then
    say "nothing to change"
elif [ "$DRY_RUN" = yes ]; then
    say "$CHANGES changes to make"
else
    say "$CHANGES changes"
fi
if [ "$SELFTEST" = yes ] && ! self_test; then
    say "set up, but not fit to fly yet: mend what the self-test names, then: tilefix selftest $ETC/tilefix.toml"
    exit 3
fi
