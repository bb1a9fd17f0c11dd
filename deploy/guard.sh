#!/bin/sh
# Runs before each start of the service, as root. Counts the starts of what is on trial after an update; when one too
# many was needed, switches every slot back to the version before. Stands apart from the versions, in plain sh, so that
# no version can break it. The file: see tilefix/update/trial.py; only root writes it, and the slots it names. The service
# can say that the trial is over, no more. A start that cannot be counted goes on all the same: it may be one in the air.
set -eu
# The service reads the trial; its unit's UMask= holds here, too.
umask 022

STATE=${STATE_DIRECTORY:-/var/lib/tilefix/state}
MOST_STARTS=3
trial=${TILEFIX_TRIAL:-/opt/tilefix/trial}

[ -f "$trial" ] || exit 0

end_trial() {
    { rm -f "$trial" && sync "${trial%/*}"; } || echo "guard: $trial cannot be removed" >&2
}

# That folder is the service's: a link in the place of the file is not followed, nor a pipe waited for.
proved=$(dd if="$STATE/proved" iflag=nofollow,nonblock bs=200 count=1 2>/dev/null | head -n 1) || proved=
if [ "$proved" = "$(head -n 1 "$trial")" ]; then
    end_trial
    exit 0
fi

starts=$(sed -n 's/^starts \([0-9]*\)$/\1/p' "$trial")
if [ -z "$starts" ]; then
    echo "guard: $trial is no list of what is on trial; left alone" >&2
    exit 0
fi

put() { # TEXT FILE: whole or not at all
    printf '%s' "$1" >"$2.partial" && sync "$2.partial" && mv "$2.partial" "$2" && sync "${2%/*}"
}

# An update that was cut off between two slots, or taking back that was: what fits together is what was before.
whole=yes
while read -r word folder version _; do
    [ "$word" = slot ] || continue
    [ "$(readlink "$folder/current" || true)" = "versions/$version" ] || whole=no
done <"$trial"

if [ "$whole" = yes ] && [ "$starts" -lt "$MOST_STARTS" ]; then
    put "$(sed "s/^starts .*/starts $((starts + 1))/" "$trial")
" "$trial" || echo "guard: $trial cannot be written, this start does not count" >&2
    exit 0
fi

while read -r word folder version before; do
    [ "$word" = slot ] || continue
    now=$(readlink "$folder/current" || true)
    if [ "$now" != "versions/$version" ] || [ "$before" = - ]; then continue; fi
    if [ ! -f "$folder/versions/$before/.complete" ]; then
        echo "guard: $folder: $before is gone, $version stays" >&2
        continue
    fi
    ln -sfn "versions/$before" "$folder/.current.new"
    mv -T "$folder/.current.new" "$folder/current"
    sync "$folder"
    echo "guard: $folder: $version did not serve well, back to $before" >&2
done <"$trial"
end_trial
