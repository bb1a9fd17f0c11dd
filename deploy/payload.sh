# shellcheck shell=bash
# What a root file system gets to install itself at its first start; sourced by flash_jetson.sh after lib.sh.

# lay_payload ROOT BUNDLE KEY CONFIG: the bundle, the key it is signed with, the installer and the unit that runs it.
lay_payload() {
    local root=$1 bundle=$2 key=$3 config=$4 here payload units script
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    payload=$root/opt/tilefix-payload
    units=$root/etc/systemd/system
    act rm -rf "$payload"
    act mkdir -p "$payload/deploy" "$units/multi-user.target.wants" "$root/etc/tilefix/keys"
    act install -m 644 "$bundle" "$payload/bundle.tar.gz"
    for script in lib.sh bundle.py minisign.py; do act install -m 644 "$here/$script" "$payload/deploy/$script"; done
    for script in install.sh provision.sh uninstall.sh; do act install -m 755 "$here/$script" "$payload/deploy/$script"; done
    act install -m 644 "$key" "$root/etc/tilefix/keys/$(basename "${key%.pub}").pub"
    if [ "$DRY_RUN" = yes ]; then
        echo "+ TILEFIX_CONFIG=$config > $payload/firstboot.env"
    else
        printf 'TILEFIX_CONFIG=%s\n' "$config" >"$payload/firstboot.env"
    fi
    act install -m 644 "$here/systemd/tilefix-firstboot.service" "$units/tilefix-firstboot.service"
    act ln -sfn ../tilefix-firstboot.service "$units/multi-user.target.wants/tilefix-firstboot.service"
}
