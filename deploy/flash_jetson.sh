#!/usr/bin/env bash
# Prepares NVIDIA's root file system with a bundle that installs itself at the first start, and flashes it with NVIDIA's tools.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PROGRAM=flash
# shellcheck source=deploy/lib.sh
. "$HERE/lib.sh"
# shellcheck source=deploy/payload.sh
. "$HERE/payload.sh"

usage() {
    cat <<'TEXT'
usage: deploy/flash_jetson.sh --board BOARD --jetpack 6|7 --storage nvme|sd --bsp FILE --rootfs FILE
                              --bundle FILE --key FILE --user NAME --password-file FILE --accept-license [OPTION ...]

On an x86_64 Ubuntu with the board on USB, in recovery mode. The archives are NVIDIA's: Jetson_Linux_R..._aarch64.tbz2 and
Tegra_Linux_Sample-Root-Filesystem_R..._aarch64.tbz2.

  --board BOARD      orin-nano, orin-nx or agx-orin
  --jetpack 6|7      Jetson Linux 36 or 39 (38, JetPack 7.0 and 7.1, does not know Orin)
  --storage WHAT     where the system goes: nvme or sd
  --bundle FILE      made by deploy/bundle.sh --jetpack, signed
  --key FILE         the public key that it, and later updates, are signed with
  --user NAME        the person who may log in, with the password in the first line of --password-file
  --accept-license   you accept NVIDIA's licence, which its tools ask for
  --hostname NAME    (tilefix)
  --config NAME      config/NAME.toml of the bundle (tilefix)
  --super            the board's configuration with the higher power budget
  --board-config N   a carrier board's own configuration, N.conf in the BSP
  --work DIR         where the BSP is unpacked (out/flash); 60 GB free for JetPack 6, 80 GB for 7
  --flash DEVICE     flash, and say what is overwritten by it: nvme0n1 for nvme, mmcblk0 for sd, as the board names it.
                     Without it the root file system is prepared, and nothing is flashed
  --dry-run          check everything that can be checked, and print every step
TEXT
}

BOARD='' JETPACK='' STORAGE='' BSP='' ROOTFS='' BUNDLE='' KEY='' LOGIN='' PASSWORD_FILE='' LICENSE=no
HOST_NAME=tilefix CONFIG=tilefix SUPER=no BOARD_CONFIG='' WORK=$(dirname "$HERE")/out/flash DEVICE=''
while [ "$#" -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --accept-license) LICENSE=yes ;;
    --super) SUPER=yes ;;
    --dry-run) DRY_RUN=yes ;;
    *)
        has_value "$@"
        case $1 in
        --board) BOARD=$2 ;;
        --jetpack) JETPACK=$2 ;;
        --storage) STORAGE=$2 ;;
        --bsp) BSP=$2 ;;
        --rootfs) ROOTFS=$2 ;;
        --bundle) BUNDLE=$2 ;;
        --key) KEY=$2 ;;
        --user) LOGIN=$2 ;;
        --password-file) PASSWORD_FILE=$2 ;;
        --hostname) HOST_NAME=$2 ;;
        --config) CONFIG=$2 ;;
        --board-config) BOARD_CONFIG=$2 ;;
        --work) WORK=$2 ;;
        --flash) DEVICE=$2 ;;
        *) die "unknown option $1 (see --help)" ;;
        esac
        shift
        ;;
    esac
    shift
done

# --- what was asked for -----------------------------------------------------------------------------------------------

# The USB products of modules in recovery mode; NVIDIA's vendor is 0955.
case $BOARD in
orin-nano) CONF=jetson-orin-nano-devkit PRODUCTS='7523 7623' ;;
orin-nx) CONF=jetson-orin-nano-devkit PRODUCTS='7323 7423' ;;
agx-orin) CONF=jetson-agx-orin-devkit PRODUCTS='7023 7223' ;;
'') die "--board is missing: orin-nano, orin-nx or agx-orin" ;;
*) die "--board $BOARD: orin-nano, orin-nx or agx-orin" ;;
esac
case $JETPACK in
6) BRANCH=36 BOARD_PYTHON=3.10 NEEDS_GB=60 ;;
7) BRANCH=39 BOARD_PYTHON=3.12 NEEDS_GB=80 ;;
*) die "--jetpack: 6 or 7" ;;
esac
case $STORAGE in
nvme) PARTITION=nvme0n1p1 DISK=nvme0n1 ;;
sd) PARTITION=mmcblk0p1 DISK=mmcblk0 ;;
*) die "--storage: nvme or sd" ;;
esac
if [ -n "$DEVICE" ] && [ "${DEVICE#/dev/}" != "$DISK" ]; then
    die "--flash $DEVICE: with --storage $STORAGE the board's $DISK is overwritten; name that, or change --storage"
fi
[ "$LICENSE" = yes ] || die "NVIDIA's tools ask for its licence to be accepted: --accept-license"
[[ $LOGIN =~ ^[a-z][a-z0-9_-]{0,30}$ ]] || die "--user: a login name"
[ "$LOGIN" != tilefix ] || die "--user tilefix: the service has that name, take another one"
[[ $HOST_NAME =~ ^[A-Za-z0-9][A-Za-z0-9-]{0,62}$ ]] || die "--hostname $HOST_NAME: letters, digits and hyphens"
[[ $CONFIG =~ ^[a-z0-9][a-z0-9_-]*$ ]] || die "--config $CONFIG: the name of a file in config/, without .toml"
for option in bsp rootfs bundle key password-file; do
    case $option in
    bsp) file=$BSP ;; rootfs) file=$ROOTFS ;; bundle) file=$BUNDLE ;; key) file=$KEY ;; *) file=$PASSWORD_FILE ;;
    esac
    [ -n "$file" ] || die "--$option is missing (see --help)"
    need_file "--$option" "$file"
done
PASSWORD=$(head -n 1 "$PASSWORD_FILE")
[ -n "$PASSWORD" ] || die "--password-file $PASSWORD_FILE: its first line is empty"
if [ "$STORAGE" = sd ] && [ "$BOARD" != orin-nano ]; then
    warn "only the module of the Orin Nano developer kit has a microSD slot of its own; this carrier board must have one"
fi
CONF=${BOARD_CONFIG:-$CONF}
[[ $CONF =~ ^[A-Za-z0-9][A-Za-z0-9.+_-]*$ ]] || die "--board-config $CONF: the name of a .conf file of the BSP, without .conf"
if [ "$SUPER" = yes ]; then CONF=$CONF-super; fi

# --- what was given ---------------------------------------------------------------------------------------------------

need_command tar python3 openssl
say "looking through $BSP"
LISTING=$(tar -tf "$BSP") || die "$BSP: not a whole archive"
in_bsp() { grep -qx -- "\(\./\)\?Linux_for_Tegra/$1" <<<"$LISTING"; }
in_bsp nv_tegra/bsp_version || die "$BSP: no Jetson Linux: it lacks nv_tegra/bsp_version"
VERSION_FILE=$(grep -x -- '\(\./\)\?Linux_for_Tegra/nv_tegra/bsp_version' <<<"$LISTING")
# BSP_BRANCH=36, BSP_MAJOR=4, BSP_MINOR=3: read, never run.
RELEASE=$(tar -xOf "$BSP" "$VERSION_FILE")
number() { sed -n "s/^$1=\"\\{0,1\\}\\([0-9][0-9]*\\)\"\\{0,1\\}[[:space:]]*\$/\\1/p" <<<"$RELEASE" | head -n 1; }
FOUND=$(number BSP_BRANCH) MAJOR=$(number BSP_MAJOR) MINOR=$(number BSP_MINOR)
if [ -z "$FOUND" ] || [ -z "$MAJOR" ]; then die "$BSP: nv_tegra/bsp_version does not tell its release"; fi
case $FOUND in
"$BRANCH") ;;
38) die "$BSP is Jetson Linux 38, which is for Thor only: Orin needs 36 (JetPack 6) or 39 (JetPack 7.2)" ;;
*) die "$BSP is Jetson Linux $FOUND.$MAJOR, JetPack $JETPACK is Jetson Linux $BRANCH" ;;
esac
in_bsp "$CONF.conf" || die "$BSP: no configuration $CONF.conf for this board in Jetson Linux $FOUND.$MAJOR"
for tool in apply_binaries.sh tools/l4t_create_default_user.sh; do
    in_bsp "$tool" || die "$BSP: it lacks $tool"
done
if in_bsp l4t_initrd_flash.sh; then
    FLASHER=./l4t_initrd_flash.sh
elif in_bsp tools/kernel_flash/l4t_initrd_flash.sh; then
    FLASHER=./tools/kernel_flash/l4t_initrd_flash.sh
else
    die "$BSP: it lacks l4t_initrd_flash.sh"
fi
say "Jetson Linux $FOUND.$MAJOR.${MINOR:-0}, $CONF"

say "looking through $ROOTFS"
ROOT_LISTING=$(tar -tf "$ROOTFS") || die "$ROOTFS: not a whole archive"
grep -qx -- "\(\./\)\?usr/bin/python$BOARD_PYTHON" <<<"$ROOT_LISTING" ||
    die "$ROOTFS has no Python $BOARD_PYTHON: it is not the sample root file system of JetPack $JETPACK"

say "checking $BUNDLE"
python3 -B "$HERE/bundle.py" check "$BUNDLE" --key "$KEY" --arch aarch64 --python "$BOARD_PYTHON" >/dev/null
# Not grep -q, which would leave tar with a broken pipe.
tar -tzf "$BUNDLE" | grep -- "/config/$CONFIG\.toml\$" >/dev/null || die "--config $CONFIG: the bundle has no config/$CONFIG.toml"

# NVIDIA's Quick Start of each release: erasing came with 36.5 for the small boards, with 39 for all.
ERASE=()
if [ "$FOUND" -ge 39 ] || { [ "$MAJOR" -ge 5 ] && [ "$BOARD" != agx-orin ]; }; then ERASE=(--erase-all); fi
LAYOUT=tools/kernel_flash/flash_l4t_t234_nvme.xml
QSPI=bootloader/generic/cfg/flash_t234_qspi.xml
TARGET=internal
COMMAND=("$FLASHER")
if [ "$BOARD" = agx-orin ]; then
    # It starts from its eMMC's boot loader; the system lies on the disk that is named.
    TARGET=external
    COMMAND+=("${ERASE[@]}" --external-device "$PARTITION" -c "$LAYOUT")
elif [ "$FOUND" -ge 39 ]; then
    # The boot loader's flash memory and the disk in one run; NVMe is what the configuration names itself.
    COMMAND+=("${ERASE[@]}")
    if [ "$STORAGE" = sd ]; then COMMAND+=(--external-device "$PARTITION"); fi
else
    COMMAND+=("${ERASE[@]}" --external-device "$PARTITION" -c "$LAYOUT" -p "-c $QSPI")
fi
if [ "$FOUND" -lt 39 ]; then COMMAND+=(--showlogs --network usb0); fi
COMMAND+=("$CONF" "$TARGET")

# --- the host and the board -------------------------------------------------------------------------------------------

# Prints the USB products of NVIDIA that are in recovery mode, one a line.
modules() { lsusb -d 0955: 2>/dev/null | sed -n 's/.*ID 0955:\(7[0-9a-f][0-9a-f][0-9a-f]\).*/\1/p'; }

check_board() {
    local found
    # lsusb fails when there is none.
    found=$(modules || true)
    [ -n "$found" ] || die "no board in recovery mode on USB (hold its recovery pin or button while it gets power)"
    [ "$(wc -l <<<"$found")" -eq 1 ] || die "several boards in recovery mode: $(tr '\n' ' ' <<<"$found")(leave one connected)"
    [[ " $PRODUCTS " == *" $found "* ]] || die "the board on USB is 0955:$found, not an $BOARD (one of 0955: $PRODUCTS)"
    say "$BOARD in recovery mode: 0955:$found"
}

if [ "$DRY_RUN" = no ]; then
    [ "$(id -u)" -eq 0 ] || die "NVIDIA's tools need root (sudo), or try --dry-run"
    [ "$(uname -m)" = x86_64 ] || die "NVIDIA's tools run on x86_64 only"
    if [ -n "$DEVICE" ]; then
        need_command lsusb
        check_board
    fi
    mkdir -p "$WORK"
    free_gb=$(df --output=avail -B 1G "$WORK" | tail -n 1)
    # The variable is for tests with small archives.
    [ "$free_gb" -ge "${TILEFIX_FLASH_GB:-$NEEDS_GB}" ] || die "$WORK: ${free_gb// /} GB free, $NEEDS_GB GB are needed"
fi

# --- preparing --------------------------------------------------------------------------------------------------------

L4T=$WORK/Linux_for_Tegra
ROOTDIR=$L4T/rootfs
# Names the archives that lie in WORK, so that a second run goes on with them, and other ones are never mixed in.
STAMP=$WORK/.unpacked
SOURCES="$(basename "$BSP") $(stat -c %s "$BSP") $(basename "$ROOTFS") $(stat -c %s "$ROOTFS")"
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$SOURCES" ]; then
    say "$L4T is unpacked already"
else
    [ ! -e "$L4T" ] || die "$L4T is there, half unpacked or from other archives (remove it, or give another --work)"
    act mkdir -p "$WORK"
    act tar -xpf "$BSP" -C "$WORK"
    act mkdir -p "$ROOTDIR"
    act tar -xpf "$ROOTFS" -C "$ROOTDIR"
    act env -C "$L4T" ./apply_binaries.sh
    if [ "$DRY_RUN" = no ]; then printf '%s\n' "$SOURCES" >"$STAMP"; fi
fi
if [ "$DRY_RUN" = yes ]; then
    echo "+ $L4T/tools/l4t_create_default_user.sh -u $LOGIN -p (from $PASSWORD_FILE) -n $HOST_NAME --accept-license"
elif ! grep -q "^$LOGIN:" "$ROOTDIR/etc/passwd" 2>/dev/null; then
    (cd "$L4T" && ./tools/l4t_create_default_user.sh -u "$LOGIN" -p "$PASSWORD" -n "$HOST_NAME" --accept-license)
fi

lay_payload "$ROOTDIR" "$BUNDLE" "$KEY" "$CONFIG"
say "the root file system is ready: $ROOTDIR"

# --- flashing ---------------------------------------------------------------------------------------------------------

if [ -z "$DEVICE" ]; then
    say "not flashed; to flash it, add: --flash $DISK"
    printf 'it will run, in %s:' "$L4T"
    printf ' %q' "${COMMAND[@]}"
    printf '\n'
    exit 0
fi
if [ "$DRY_RUN" = no ]; then check_board; fi
say "everything on $DISK of the $BOARD is overwritten now"
act env -C "$L4T" "${COMMAND[@]}"
say "done. Take the recovery jumper off; the board installs tilefix when it starts: journalctl -u tilefix-firstboot"
