#!/usr/bin/env bash
# Makes one file that installs tilefix on a machine without internet: tilefix-VERSION-ARCH-pyXY.tar.gz.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
PROGRAM=bundle
# shellcheck source=deploy/lib.sh
. "$ROOT/deploy/lib.sh"

usage() {
    cat <<'TEXT'
usage: deploy/bundle.sh (--jetpack 6|7 | --arch ARCH --python X.Y) (--key SECRET | --unsigned) [OPTION ...]

  --jetpack 6|7     for a Jetson: 6 = aarch64 and Python 3.10, 7 = aarch64 and Python 3.12
  --arch ARCH       aarch64 or x86_64
  --python X.Y      3.10, 3.11 or 3.12; with ARCH it names a lock, deploy/locks/pyXY-ARCH.txt
  --key SECRET      minisign's secret key (minisign -G) that signs the bundle
  --unsigned        leave the bundle unsigned: installers refuse it unless they are told otherwise
  --model FILE      an .onnx with its .json beside it, in the place of the one that ships
  --map DIR         a map package to bring along; may be given several times
  --wheel FILE      a wheel of your own, in the place of the locked one of that name (an OpenCV with GStreamer,
                    pycuda); may be given several times
  --deb FILE        a Debian package that the board lacks and provision.sh installs (TensorRT and CUDA of JetPack, for a
                    board without internet); may be given several times
  --wheels DIR      locked wheels that were fetched already; none is fetched then
  --version V       by default setup.cfg's version + g and the commit
  --out DIR         where to put it (out/bundle)
  --dry-run         say what would be done

What is packed is the last commit, not the working tree. The package index is asked for wheels by the hashes in the lock.
TEXT
}

ARCH='' PY='' KEY='' UNSIGNED=no MODEL='' VERSION='' OUT=$ROOT/out/bundle WHEELS=''
MAPS=() OWN_WHEELS=() DEBS=()
while [ "$#" -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --unsigned) UNSIGNED=yes ;;
    --dry-run) DRY_RUN=yes ;;
    *)
        has_value "$@"
        case $1 in
        --jetpack)
            ARCH=aarch64
            case $2 in
            6) PY=3.10 ;;
            7) PY=3.12 ;;
            *) die "--jetpack $2: 6 or 7" ;;
            esac
            ;;
        --arch) ARCH=$2 ;;
        --python) PY=$2 ;;
        --key) KEY=$2 ;;
        --model) MODEL=$2 ;;
        --map) MAPS+=("$2") ;;
        --wheel) OWN_WHEELS+=("$2") ;;
        --deb) DEBS+=("$2") ;;
        --wheels) WHEELS=$2 ;;
        --version) VERSION=$2 ;;
        --out) OUT=$2 ;;
        *) die "unknown option $1 (see --help)" ;;
        esac
        shift
        ;;
    esac
    shift
done

if [ -z "$ARCH" ] || [ -z "$PY" ]; then die "for which machine? give --jetpack, or --arch and --python"; fi
LOCK=$ROOT/deploy/locks/py${PY/./}-$ARCH.txt
[ -f "$LOCK" ] || die "no lock for Python $PY on $ARCH (one of: $(cd "$ROOT/deploy/locks" && echo ./*.txt))"
if [ -n "$KEY" ] && [ "$UNSIGNED" = yes ]; then die "--key and --unsigned exclude each other"; fi
[ -n "$KEY" ] || [ "$UNSIGNED" = yes ] || die "sign it with --key SECRET (minisign -G makes one), or say --unsigned"
if [ -n "$KEY" ]; then
    need_file --key "$KEY"
    need_command minisign
fi
if [ -n "$MODEL" ]; then
    need_file --model "$MODEL"
    need_file --model "${MODEL%.onnx}.json"
fi
for map in "${MAPS[@]}"; do need_file --map "$map/manifest.json"; done
for wheel in "${OWN_WHEELS[@]}"; do
    need_file --wheel "$wheel"
    case $wheel in
    *-none-any.whl | *_"$ARCH".whl) ;;
    *) die "--wheel $wheel: not for $ARCH" ;;
    esac
done
for deb in "${DEBS[@]}"; do need_file --deb "$deb"; done
if [ -n "$WHEELS" ]; then [ -d "$WHEELS" ] || die "--wheels: no folder $WHEELS"; fi

PYTHON=${PYTHON:-$ROOT/.venv/bin/python}
need_command "$PYTHON" git
COMMIT=$(git -C "$ROOT" rev-parse HEAD)
if ! git -C "$ROOT" diff --quiet HEAD --; then warn "uncommitted changes are not in the bundle"; fi
RELEASE=$(sed -n 's/^version = //p' "$ROOT/setup.cfg")
VERSION=${VERSION:-$RELEASE+g${COMMIT:0:10}}
[[ $VERSION =~ ^[0-9][0-9A-Za-z.+]*$ ]] || die "--version $VERSION: digits first, then digits, letters, dots and pluses"
NAME=tilefix-$VERSION-$ARCH-py${PY/./}

PIP=("$PYTHON" -m pip --disable-pip-version-check)
# pip's name of the ABI and every tag of a wheel that runs on the lock's glibc.
GLIBC=$(sed -n '1s/.*glibc 2\.\([0-9]*\).*/\1/p' "$LOCK")
TAGS=(--implementation cp --python-version "$PY" --abi "cp${PY/./}" --abi abi3 --abi none --platform "manylinux2014_$ARCH")
for minor in $(seq 17 "$GLIBC"); do TAGS+=(--platform "manylinux_2_${minor}_$ARCH"); done

if [ "$DRY_RUN" = yes ]; then
    say "would make $OUT/$NAME.tar.gz of commit $COMMIT"
    WORK=$OUT/.making-$NAME
else
    mkdir -p "$OUT"
    WORK=$(mktemp -d "$OUT/.making-XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
fi
SOURCE=$WORK/source
TREE=$WORK/$NAME

say "tilefix $VERSION for $ARCH, Python $PY"
act mkdir -p "$SOURCE" "$TREE/wheels" "$TREE/model" "$TREE/deploy"
export SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(git -C "$ROOT" log -1 --format=%ct)
if [ "$DRY_RUN" = yes ]; then
    echo "+ git archive $COMMIT | tar -x -C $SOURCE"
else
    git -C "$ROOT" archive "$COMMIT" | tar -x -C "$SOURCE"
fi
act "${PIP[@]}" wheel -q --no-deps --wheel-dir "$TREE/wheels" "$SOURCE"
if [ -n "$WHEELS" ]; then
    act "${PIP[@]}" download -q --no-deps --no-index --find-links "$WHEELS" --only-binary :all: "${TAGS[@]}" \
        --require-hashes --dest "$TREE/wheels" -r "$LOCK"
else
    act "${PIP[@]}" download -q --no-deps --only-binary :all: "${TAGS[@]}" --require-hashes --dest "$TREE/wheels" -r "$LOCK"
fi

# A wheel is named NAME-VERSION-TAGS.whl, with _ for every - of the name.
for wheel in "${OWN_WHEELS[@]}"; do
    own=$(basename "$wheel")
    say "own wheel $own"
    act find "$TREE/wheels" -name "${own%%-*}-*.whl" -delete
    act cp "$wheel" "$TREE/wheels/$own"
done

FROM=${MODEL:-$SOURCE/edge/tilefix/models/tilefix-s.onnx}
act cp "$FROM" "${FROM%.onnx}.json" "$TREE/model/"
for map in "${MAPS[@]}"; do
    act mkdir -p "$TREE/maps"
    act cp -rL "$map" "$TREE/maps/$(basename "$(realpath "$map")")"
done
for deb in "${DEBS[@]}"; do
    act mkdir -p "$TREE/debs"
    act cp "$deb" "$TREE/debs/"
done
for folder in config systemd udev; do act cp -r "$SOURCE/deploy/$folder" "$TREE/$folder"; done
act mkdir -p "$TREE/docs"
act cp "$SOURCE/README.md" "$TREE/"
if [ "$DRY_RUN" = yes ]; then echo "+ cp $SOURCE/docs/*.md $TREE/docs"; else cp "$SOURCE"/docs/*.md "$TREE/docs"; fi
for script in lib.sh bundle.py minisign.py install.sh provision.sh uninstall.sh power.sh guard.sh; do
    if [ "$DRY_RUN" = yes ] || [ -f "$SOURCE/deploy/$script" ]; then act cp "$SOURCE/deploy/$script" "$TREE/deploy/$script"; fi
done

if [ "$DRY_RUN" = yes ]; then
    echo "+ write $TREE/requirements.txt"
else
    # pip brings the others in, and stays out.
    for wheel in "$TREE"/wheels/*.whl; do
        file=$(basename "$wheel")
        name=${file%%-*} rest=${file#*-}
        [ "$name" = pip ] || printf '%s==%s --hash=sha256:%s\n' "$name" "${rest%%-*}" "$(sha256sum "$wheel" | cut -d' ' -f1)"
    done >"$TREE/requirements.txt"
fi
act "$PYTHON" "$SOURCE/deploy/bundle.py" seal "$TREE" --version "$VERSION" --arch "$ARCH" --python "$PY" --commit "$COMMIT"
if [ -n "$KEY" ]; then
    act minisign -S -s "$KEY" -m "$TREE/SHA256SUMS" -x "$TREE/SHA256SUMS.minisig" -t "$NAME"
fi
act "$PYTHON" "$SOURCE/deploy/bundle.py" pack "$TREE" "$OUT/$NAME.tar.gz"
if [ "$DRY_RUN" = no ]; then
    say "$OUT/$NAME.tar.gz: $(du -h "$OUT/$NAME.tar.gz" | cut -f1), sha256 $(sha256sum "$OUT/$NAME.tar.gz" | cut -d' ' -f1)"
fi
