#!/bin/bash
# Provisions this machine twice, without the network, in a throw-away layer over it; then uninstalls. Run by
# test_provision.py as: unshare --mount --net provision_in_overlay.sh OUT PYTHON BUNDLE KEY BUNDLE2
# OUT/STEP.txt: what a step printed and its exit status; OUT/STEP.list: every path that differs from the machine's.
set -euo pipefail
out=$1 python=$2 bundle=$3 key=$4 with_debs=$5
deploy=$(cd "$(dirname "$0")/../../deploy" && pwd)

layers=$out/layers
mkdir "$layers"
mount -t tmpfs tmpfs "$layers"
mkdir "$layers/upper" "$layers/work" "$layers/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" "$layers/root"
mount -t proc proc "$layers/root/proc"
mount --rbind /dev "$layers/root/dev"
# The service's user must reach the interpreter, which may lie in somebody's home here.
above=$(dirname "$(realpath "$python")")
while [ "$above" != / ]; do
    chmod o+rx "$layers/root$above"
    above=$(dirname "$above")
done
# A Jetson's login prompt on the serial port.
printf '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' >"$layers/root/lib/systemd/system/nvgetty.service"
ln -s /lib/systemd/system/nvgetty.service "$layers/root/etc/systemd/system/multi-user.target.wants/nvgetty.service"

step() {
    local name=$1 status=0
    shift
    chroot "$layers/root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" >"$out/$name.txt" 2>&1 ||
        status=$?
    echo "exit status $status" >>"$out/$name.txt"
    (
        cd "$layers/upper"
        find . -mindepth 1 \( -path ./tmp -o -path ./var/tmp -o -path ./proc -o -path ./dev \) -prune -o \
            \( -type f -printf '%p file %m %U:%G ' -exec sha256sum '{}' ';' \) -o -printf '%p %y %m %U:%G %l\n' |
            sort
    ) >"$out/$name.list"
}

provision=("$deploy/provision.sh" --python "$python" --key "$key" --ntp 192.168.0.1 --power-mode 2)
step before true
step dry "${provision[@]}" --bundle "$bundle" --dry-run
step first "${provision[@]}" --bundle "$bundle"
step second "${provision[@]}" --bundle "$bundle"
step user id tilefix
step units systemctl is-enabled tilefix-power.service nvgetty.service
step command /usr/local/bin/tilefix --version
echo '# 5' >"$layers/root/etc/tilefix/tilefix.toml"
state=$layers/root/var/lib/tilefix/state
echo recording >"$state/recordings/flight"
step unfit "${provision[@]}"
step kept /opt/tilefix/current/deploy/provision.sh --uninstall
step again "${provision[@]}" --bundle "$bundle" --no-selftest
# What the service's user may do: nothing beside its own folder, in which it leads root astray as it can.
as_service=(runuser -u tilefix -- sh -c)
step beside "${as_service[@]}" 'cd /var/lib/tilefix && touch x maps/x models/x maps/site/x && echo written'
mkdir -m 700 "$layers/root/srv/precious"
step astray "${as_service[@]}" 'cd /var/lib/tilefix/state && rm -r recordings engine && ln -s /srv/precious recordings && ln -s /srv/new engine'
step linked "${provision[@]}" --no-selftest
step precious stat -c '%a %U' /srv/precious
step new ls /srv/new
rm "$state/recordings" "$state/engine"
rmdir "$layers/root/srv/precious"
site=$layers/root/var/lib/tilefix/maps/site
chmod 777 "$site/versions"
step open "${provision[@]}" --no-selftest
rm "$site/current"
step open_to_all "${provision[@]}" --no-selftest
chmod 755 "$site/versions"
chroot "$layers/root" chgrp tilefix /var/lib/tilefix/maps/site
chmod 775 "$site"
step open_to_group "${provision[@]}" --no-selftest
chmod 755 "$site"
chroot "$layers/root" chown tilefix /var/lib/tilefix/maps/site
step given "${provision[@]}" --no-selftest
chroot "$layers/root" chown root /var/lib/tilefix/maps/site
step mended "${provision[@]}" --no-selftest
rm -r "$site"
step no_router "${provision[@]}" --mavlink-router /dev/ttyTHS1:921600
printf '#!/bin/sh\n' >"$layers/root/usr/bin/mavlink-routerd"
chmod 755 "$layers/root/usr/bin/mavlink-routerd"
step router "${provision[@]}" --mavlink-router /dev/ttyTHS1:921600 --no-selftest
step router_unit systemctl is-enabled mavlink-router.service
step router_config cat /etc/tilefix/mavlink-router.conf
rm "$layers/root/usr/bin/mavlink-routerd"
step purged /opt/tilefix/current/deploy/provision.sh --uninstall --purge
step debs "${provision[@]}" --bundle "$with_debs"
step package dpkg-query --show of-jetpack
step debs_again "${provision[@]}"
