# shellcheck shell=bash
# Shared by the scripts of this folder; sourced, never run.
# A script sets PROGRAM first. DRY_RUN=yes makes `act` print what it would run.

: "${PROGRAM:=deploy}"
: "${DRY_RUN:=no}"

say() { printf '%s: %s\n' "$PROGRAM" "$*"; }

warn() { printf '%s: warning: %s\n' "$PROGRAM" "$*" >&2; }

# What a person can mend: one line, exit status 2.
die() {
    printf '%s: %s\n' "$PROGRAM" "$*" >&2
    exit 2
}

# Refuses option $1 when no value follows it.
has_value() {
    case $1 in -*) ;; *) die "unknown word $1 (see --help)" ;; esac
    if [ "$#" -lt 2 ] || [ -z "$2" ]; then die "$1 is unknown or needs a value (see --help)"; fi
}

# Runs a command, or prints it when this is a dry run.
act() {
    if [ "$DRY_RUN" = yes ]; then
        printf '+'
        printf ' %q' "$@"
        printf '\n'
    else
        "$@"
    fi
}

need_command() {
    local name
    for name in "$@"; do
        command -v "$name" >/dev/null 2>&1 || die "$name is not installed"
    done
}

need_file() { [ -f "$2" ] || die "$1: no file $2"; }
