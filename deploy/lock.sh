#!/usr/bin/env bash
# Writes deploy/locks/pyXY-ARCH.txt: what flies, at the versions of constraints.txt, one wheel and one SHA-256 each.
# Needs the package index and uv (pip install .[lock]). Run it after a change of setup.cfg or constraints.txt; bundle.sh
# then takes exactly these files.
set -euo pipefail
cd "$(dirname "$0")/.."
PROGRAM=lock
# shellcheck source=deploy/lib.sh
. deploy/lib.sh

usage() {
    cat <<'TEXT'
usage: deploy/lock.sh [PYTHON-ARCH ...]      for instance 3.10-aarch64; all of them by default
TEXT
}

# Python, architecture, the glibc of its Ubuntu or Debian, and cuda-bindings where JetPack has CUDA: 12.6 in
# JetPack 6, 13 in JetPack 7. Wheels for an older glibc run on a newer one.
TARGETS="
3.10-aarch64 35 cuda-bindings>=12.6,<13
3.12-aarch64 39 cuda-bindings>=13,<14
3.11-aarch64 36 -
3.10-x86_64 35 -
3.11-x86_64 36 -
3.12-x86_64 39 -
"
# Brings the wheels of a bundle into its virtual environment; not installed itself.
INSTALLER='pip==26.2.1'

PYTHON=${PYTHON:-.venv/bin/python}
UV=${UV:-uv}

# What flies and what builds engines, as setup.cfg has it.
wanted() {
    "$PYTHON" - <<'CODE'
import configparser

setup = configparser.ConfigParser()
setup.read("setup.cfg")
print(setup["options"]["install_requires"], setup["options.extras_require"]["engine"], sep="\n")
CODE
}

lock() {
    local target=$1 glibc=$2 cuda=$3 python=${1%-*} arch=${1#*-} tag=cp${1%-*}
    local name="py${python/./}-$arch" work
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now, not of later
    trap "rm -rf '$work'" RETURN
    { wanted && echo "$INSTALLER" && if [ "$cuda" != - ]; then echo "$cuda"; fi; } >"$work/wanted.in"
    # constraints.txt pins cuda-bindings for a workstation; here JetPack decides.
    grep -v '^cuda-bindings' constraints.txt >"$work/constraints.txt"
    "$UV" pip compile -q --no-header --no-annotate --only-binary :all: --python-version "$python" \
        --python-platform "$arch-manylinux_2_$glibc" -c "$work/constraints.txt" -o "$work/all.txt" "$work/wanted.in"
    local platforms=() minor
    for minor in $(seq 17 "$glibc"); do platforms+=(--platform "manylinux_2_${minor}_$arch"); done
    "$PYTHON" -m pip --disable-pip-version-check download -q --no-deps --only-binary :all: --dest "$work/wheels" \
        --implementation cp --python-version "$python" --abi "${tag/./}" --abi abi3 --abi none \
        --platform "manylinux2014_$arch" "${platforms[@]}" -r "$work/all.txt"
    "$PYTHON" - "$work/wheels" >"$work/lock" <<'CODE'
import hashlib
import pathlib
import re
import sys

for wheel in sorted(pathlib.Path(sys.argv[1]).glob("*.whl"), key=lambda path: path.name.lower()):
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    print(f"{re.sub('[-_.]+', '-', name).lower()}=={version} --hash=sha256:{digest}")
CODE
    {
        echo "# Written by deploy/lock.sh: Python $python on $arch, glibc 2.$glibc or newer."
        cat "$work/lock"
    } >"deploy/locks/$name.txt.partial"
    mv "deploy/locks/$name.txt.partial" "deploy/locks/$name.txt"
    say "deploy/locks/$name.txt: $(wc -l <"$work/lock") wheels, $(du -sh "$work/wheels" | cut -f1)"
}

case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
esac
need_command "$UV"
known=$(printf '%s\n' "$TARGETS" | cut -s -d' ' -f1)
for asked in "$@"; do
    printf '%s\n' "$known" | grep -qx -- "$asked" || die "$asked: one of ${known//$'\n'/ }"
done
while read -r target glibc cuda; do
    [ -n "$target" ] || continue
    if [ "$#" -eq 0 ] || printf '%s\n' "$@" | grep -qx -- "$target"; then
        lock "$target" "$glibc" "$cuda"
    fi
done <<<"$TARGETS"
