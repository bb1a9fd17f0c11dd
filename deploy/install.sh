#!/usr/bin/env bash
# Installs a bundle beside the versions that are there, without the internet, and switches between versions.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PROGRAM=install
# shellcheck source=deploy/lib.sh
. "$HERE/lib.sh"

usage() {
    cat <<'TEXT'
usage: install.sh [OPTION ...] BUNDLE.tar.gz     check, install and switch to it
       install.sh --verify BUNDLE.tar.gz         check only: signature, sums, machine, Python
       install.sh --stage BUNDLE.tar.gz          check and install; prints the version, does not switch
       install.sh --switch VERSION               make an installed version the current one
       install.sh --prune                        remove all versions but the current and the previous one
       install.sh --list

  --key FILE      minisign's public key, may be given several times; else /etc/tilefix/keys/*.pub
  --unsigned      take a bundle without a signature; a signature is checked where keys are at hand
  --python EXE    the Python to run on (that of the current version; python3 where there is none)
  --root DIR      work below DIR in the place of / (tests, images)
  --dry-run       say what would be done

A version lies in /opt/tilefix/versions/VERSION and is whole when it holds `.complete`, which is written last.
/opt/tilefix/current and /opt/tilefix/previous point to versions; each is replaced by one rename. So whenever power is cut,
`current` is a version that was whole before.
TEXT
}

DO=install BUNDLE='' TARGET='' TOP='' PYTHON='' UNSIGNED=no KEYS=()
while [ "$#" -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --verify | --stage) DO=${1#--} ;;
    --prune | --list) DO=${1#--} ;;
    --unsigned) UNSIGNED=yes ;;
    --dry-run) DRY_RUN=yes ;;
    --switch | --key | --python | --root)
        has_value "$@"
        case $1 in
        --switch) DO=switch TARGET=$2 ;;
        --key)
            need_file --key "$2"
            KEYS+=("$2")
            ;;
        --python) PYTHON=$2 ;;
        --root) TOP=$(cd "$2" && pwd) || die "--root: no folder $2" ;;
        esac
        shift
        ;;
    -*) die "unknown option $1 (see --help)" ;;
    *)
        [ -z "$BUNDLE" ] || die "one bundle at a time"
        BUNDLE=$1
        ;;
    esac
    shift
done

HOME_DIR=$TOP/opt/tilefix
VERSIONS=$HOME_DIR/versions
if [ -z "$PYTHON" ]; then
    # A virtual environment links to the interpreter that it was made with.
    if [ -x "$HOME_DIR/current/venv/bin/python" ]; then
        PYTHON=$(readlink -f "$HOME_DIR/current/venv/bin/python")
    else
        PYTHON=python3
    fi
fi

# Puts what was written onto the disk before anything relies on it.
flush() { if [ "$DRY_RUN" = no ]; then sync -f "$1"; fi; }

is_whole() { [ -f "$VERSIONS/$1/.complete" ]; }

# The version that link $1 points to, or nothing.
pointed() { if [ -L "$HOME_DIR/$1" ]; then basename "$(readlink "$HOME_DIR/$1")"; fi; }

# Points link $1 to version $2 by one rename.
point() {
    act ln -sfn "versions/$2" "$HOME_DIR/.$1.new"
    act mv -T "$HOME_DIR/.$1.new" "$HOME_DIR/$1"
    flush "$HOME_DIR"
}

switch_to() {
    local version=$1 now
    case $version in */* | .* | '') die "--switch $version: not a version" ;; esac
    if [ "$DRY_RUN" = no ]; then is_whole "$version" || die "version $version is not installed whole (see --list)"; fi
    now=$(pointed current)
    if [ "$now" = "$version" ]; then
        say "$version is the current version already"
        return
    fi
    if [ -n "$now" ] && is_whole "$now"; then point previous "$now"; fi
    point current "$version"
    say "current version: $version${now:+, before: $now}"
}

# What a bundle.py command prints about BUNDLE; its complaint and status 2 where a check fails.
examine() {
    local command=$1 options=()
    shift
    local key
    for key in "${KEYS[@]}"; do options+=(--key "$key"); done
    if [ "$UNSIGNED" = yes ]; then options+=(--unsigned); fi
    "$PYTHON" -B -s -E "$HERE/bundle.py" "$command" "$BUNDLE" "${options[@]}" "$@"
}

field() { "$PYTHON" -s -E -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$1" "$2"; }

# Exits with 0 when the interpreter of the version in folder $1 imports what flies.
imports() {
    # ONNX Runtime reports to its maker otherwise; tilefix sets it for itself.
    local -x ORT_DISABLE_TELEMETRY=1
    "$1/venv/bin/python" -s -E -c 'import cv2, faiss, numpy, onnxruntime, pymavlink.mavutil, pyproj, tilefix.cli' &&
        "$1/venv/bin/tilefix" --version >/dev/null
}

stage() {
    local facts version site=()
    facts=$(examine check)
    version=$(field "$facts" version)
    place=$VERSIONS/$version
    unpacked=$VERSIONS/.staging-$version
    STAGED=$version
    if is_whole "$version"; then
        if cmp -s <(printf '%s\n' "$facts") "$place/.complete"; then
            say "version $version is installed already"
            return
        fi
        for link in current previous; do
            [ "$(pointed $link)" != "$version" ] ||
                die "another version $version is installed and in use (give the new one a version of its own)"
        done
    fi
    if [ "$DRY_RUN" = yes ]; then
        say "would install $version into $place"
        return
    fi
    mkdir -p "$VERSIONS"
    # What an earlier try left half-made.
    rm -rf "$place/.complete" "$place" "$VERSIONS"/.staging-*
    # Whatever fails from here on, nothing is left but what was there.
    trap 'rm -rf "$unpacked" "$place"' EXIT
    examine unpack --into "$unpacked" >/dev/null
    mv -T "$unpacked" "$place"
    # TensorRT and CUDA for Python come from JetPack, outside the virtual environment.
    if [ -f "$TOP/etc/nv_tegra_release" ]; then site=(--system-site-packages); fi
    "$PYTHON" -s -E -m venv --without-pip "${site[@]}" "$place/venv"
    local pip=("$place"/wheels/pip-*.whl)
    # pip runs out of its own wheel: Ubuntu's Python comes without ensurepip.
    PIP_CONFIG_FILE=/dev/null PIP_NO_INPUT=1 "$place/venv/bin/python" -s -E "${pip[0]}/pip" --isolated \
        --disable-pip-version-check install -q --no-cache-dir --no-index --no-deps --require-hashes --root-user-action ignore \
        --find-links "$place/wheels" --ignore-installed -r "$place/requirements.txt" ||
        die "$version: pip could not install the wheels of the bundle"
    imports "$place" || die "$version: what was installed does not run on this machine"
    rm -rf "$place/wheels"
    chmod -R u=rwX,go=rX "$place"
    flush "$place"
    printf '%s\n' "$facts" >"$place/.complete.partial"
    flush "$place"
    mv "$place/.complete.partial" "$place/.complete"
    trap - EXIT
    flush "$place"
    say "installed version $version"
}

prune() {
    local version path
    for path in "$VERSIONS"/* "$VERSIONS"/.staging-*; do
        [ -d "$path" ] || continue
        version=$(basename "$path")
        if [ "$version" = "$(pointed current)" ] || [ "$version" = "$(pointed previous)" ]; then continue; fi
        say "removing $version"
        act rm -rf "$path/.complete"
        act rm -rf "$path"
    done
}

list() {
    local version path note
    for path in "$VERSIONS"/*; do
        [ -d "$path" ] || continue
        version=$(basename "$path") note=''
        is_whole "$version" || note=' (not whole)'
        if [ "$version" = "$(pointed current)" ]; then note="$note current"; fi
        if [ "$version" = "$(pointed previous)" ]; then note="$note previous"; fi
        printf '%s%s\n' "$version" "$note"
    done
}

case $DO in verify | stage | install)
    [ -n "$BUNDLE" ] || die "which bundle? (see --help)"
    need_file bundle "$BUNDLE"
    need_command "$PYTHON" openssl
    if [ "${#KEYS[@]}" -eq 0 ]; then
        for key in "$TOP"/etc/tilefix/keys/*.pub; do if [ -f "$key" ]; then KEYS+=("$key"); fi; done
    fi
    ;;
esac
case $DO in install | stage | switch | prune)
    if [ "$DRY_RUN" = no ]; then
        umask 022
        mkdir -p "$HOME_DIR"
        # One at a time: a second one waits for the first.
        exec 9>"$HOME_DIR/.lock"
        flock 9
    fi
    ;;
esac
case $DO in
verify)
    facts=$(examine check)
    say "good: $facts"
    ;;
stage)
    stage
    printf '%s\n' "$STAGED"
    ;;
install)
    stage
    switch_to "$STAGED"
    ;;
switch) switch_to "$TARGET" ;;
prune) prune ;;
list) list ;;
esac
