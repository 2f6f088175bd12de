#!/bin/sh
# Proves the two commands of the README on a fresh Debian 12: a minimal system made by debootstrap with nothing
# added but make, and a clean clone of the last commit.  Needs root; takes some minutes.
#   DIR     where the system goes, removed first     MIRROR  where Debian comes from (debootstrap knows one)
# The result is written to tests/proofs/chroot.txt.
set -eu
cd "$(dirname "$0")/.."
dir=${DIR:-/var/tmp/facet-chroot}
result=$PWD/tests/proofs/chroot.txt
[ "$(id -u)" = 0 ] || { echo "prove-chroot: needs root"; exit 1; }
sh tools/deps.sh chroot
[ -z "$(git status --porcelain --untracked-files=no)" ] || { echo "prove-chroot: commit your changes first"; exit 1; }

clean() { umount "$dir/proc" "$dir/dev/pts" "$dir/dev" 2>/dev/null || true; rm -rf --one-file-system "$dir"; }
clean
trap clean EXIT
debootstrap --variant=minbase bookworm "$dir" ${MIRROR:+"$MIRROR"} >/dev/null
# apt there as apt here: proxies, mirrors' settings
cp /etc/resolv.conf "$dir/etc/resolv.conf" 2>/dev/null || true
cp /etc/apt/apt.conf.d/* "$dir/etc/apt/apt.conf.d/" 2>/dev/null || true
mount -t proc proc "$dir/proc"
mount --bind /dev "$dir/dev"
mount --bind /dev/pts "$dir/dev/pts"
git clone -q --no-hardlinks . "$dir/root/facet"

inside() { chroot "$dir" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 sh -c "cd /root/facet && $1"; }
inside '! command -v cc && ! command -v make && ! command -v python3' || { echo "prove-chroot: the system is not bare"; exit 1; }
inside 'apt-get update -q && apt-get install -q -y --no-install-recommends make' >/dev/null 2>&1

log=$dir/root/log
status=0
timed() {   # timed NAME COMMAND
    start=$(date +%s)
    rc=0
    inside "$2" >"$log" 2>&1 </dev/null || rc=$?
    printf '%s: exit status %d after %d s\n' "$1" $rc $(($(date +%s) - start))
    tail -n "$3" "$log" | sed 's/^/    /'
    [ $rc -eq 0 ] || { status=1; tail -n 60 "$log" >&2; }
}
mkdir -p "$(dirname "$result")"
{
    echo "The two commands on a fresh Debian 12 (debootstrap minbase and make)"
    echo "date     $(date -u +%F)"
    echo "commit   $(git rev-parse HEAD)"
    echo "machine  $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo
    timed "make run, two lines of input" "printf 'What is 7 plus 5?\nHello\n' | make run" 12
    timed "make run again, nothing to install or build" "printf 'What is 7 plus 5?\n' | make run" 6
    timed "make check" "make check" 3
} >"$result"
cat "$result"
exit $status
