#!/usr/bin/env bash
# A Debian with a real Blender, a virtual screen and software OpenGL in a folder of its own, for window.py.
#
#     chroot.sh sid DIR            Blender 5.2 on Python 3.14 (trixie: Blender 4.3 on Python 3.13)
#     chroot.sh --unmount DIR      give back what is mounted in DIR; needed before DIR is deleted
#
# Needs root and debootstrap; takes packages from where this machine takes its own. About 2.5 minutes and 1.9 GB.
# What is there already is kept, so a second call only mounts. Exit status: 0 done, 3 it cannot be made here.
set -euo pipefail

PACKAGES="blender python3-numpy python3-cattr python3-requests xvfb xdotool imagemagick
    libgl1 libegl1 libgl1-mesa-dri libegl-mesa0"

cannot() {
    echo "chroot.sh: $*" >&2
    exit 3
}

mounted() { mountpoint -q "$1"; }

unmount_all() {
    local folder
    for folder in sys dev proc; do
        if mounted "$1/$folder"; then umount "$1/$folder" || cannot "$1/$folder is still in use."; fi
    done
}

mount_all() {
    mounted "$1/proc" || mount -t proc proc "$1/proc" || cannot "proc cannot be mounted; this needs a full root."
    mounted "$1/dev" || mount --bind /dev "$1/dev" || cannot "/dev cannot be mounted; this needs a full root."
    mounted "$1/sys" || mount -t sysfs sys "$1/sys" || cannot "sys cannot be mounted; this needs a full root."
}

# The address that this machine takes Debian from, in either format of apt's sources.
mirror() {
    find /etc/apt -name '*.sources' -o -name '*.list' | xargs cat | tr -s '[:space:]' '\n' |
        grep -E '^[a-z+]+://.*/debian/?$' | sort -u | sed -n 1p
}

# Debian's first packages, and apt set up to work in a chroot.
make_base() {
    local suite=$1 dir=$2 from
    command -v debootstrap >/dev/null || cannot "debootstrap is missing; install it with 'apt-get install debootstrap'."
    from=$(mirror) || cannot "apt's sources on this machine name no Debian mirror."
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$dir" "$from" ||
        cannot "debootstrap could not make $suite in $dir from $from; delete the folder before trying again."
    # No sandbox user: it may not write into a folder of root's. Sid's dates may have run out on a mirror that lags.
    cat >"$dir/etc/apt/apt.conf.d/90tessera" <<-'END'
		APT::Install-Recommends "false";
		APT::Sandbox::User "root";
		Acquire::Check-Valid-Until "false";
	END
    printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d" # packages must not start services
    chmod +x "$dir/usr/sbin/policy-rc.d"
}

install_blender() {
    cp -L /etc/resolv.conf "$1/etc/resolv.conf" || true
    # shellcheck disable=SC2086
    chroot "$1" sh -c 'apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@"' sh $PACKAGES ||
        cannot "the packages could not be installed in $1."
}

[ $# -eq 2 ] || cannot "give SUITE DIR, or --unmount DIR."
[ "$(id -u)" -eq 0 ] || cannot "a chroot needs root."
dir=$(realpath -m "$2")
[ "$dir" != / ] || cannot "DIR must not be the root of this machine."

if [ "$1" = --unmount ]; then
    unmount_all "$dir"
    exit
fi
case $1 in sid | trixie) ;; *) cannot "SUITE is sid or trixie: the Blender of older ones knows no extensions." ;; esac

[ -x "$dir/usr/bin/apt-get" ] && [ -e "$dir/usr/sbin/policy-rc.d" ] || make_base "$1" "$dir"
mount_all "$dir"
if ! [ -x "$dir/usr/bin/blender" ] || ! [ -x "$dir/usr/bin/xdotool" ] || ! [ -x "$dir/usr/bin/import" ]; then
    install_blender "$dir"
fi
chroot "$dir" blender -b --version | head -n 1 || cannot "Blender does not start in $dir."
