#!/bin/sh
# Runs the tests of what flies on the other supported Pythons at hand, each in a .venv-X.Y of its own.
# PYTHON_TESTED: the interpreter whose version has been tested already. Further arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
tested=$("${PYTHON_TESTED:-.venv/bin/python}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ran=""
for version in 3.10 3.11 3.12; do
    if [ "$version" = "$tested" ]; then
        continue
    fi
    # A shim of a version manager may stand in the path without an interpreter behind it.
    python=""
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
        if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "other_pythons: python$version is not at hand, skipped"
        continue
    fi
    venv=".venv-$version"
    stamp="$venv/.tested-$(cat setup.cfg constraints.txt | cksum | cut -d ' ' -f 1)"
    if [ ! -e "$stamp" ]; then
        rm -rf "$venv"
        "$python" -m venv "$venv"
        # Without what trains.
        "$venv/bin/pip" --disable-pip-version-check install -q -c constraints.txt -e '.[map,import,engine,test]'
        touch "$stamp"
    fi
    echo "other_pythons: python$version"
    "$venv/bin/python" -m pytest --ignore=tests/training -m "not imagery" -p no:cacheprovider \
        -n auto --maxprocesses 4 --dist loadfile "$@"
    ran="$ran $version"
done
echo "other_pythons: Python $tested and${ran:- no other} tested"
