#!/bin/sh
# Installs the Debian packages that the named groups need and that are not there yet.
#   tools/deps.sh build test clang cross oracle page proxy load chroot
# Says nothing and needs no rights when everything is there.  Without apt it names the packages.
set -eu

packages=
for group in "$@"; do
    case $group in
    build)  packages="$packages gcc libc6-dev make pkg-config libjansson-dev libevent-dev libedit-dev zlib1g-dev libzstd-dev" ;;
    test)   packages="$packages libcmocka-dev xz-utils curl" ;;
    clang)  packages="$packages clang" ;;      # brings libFuzzer and the sanitizers' libraries
    cross)
        event=libevent-core-2.1-7              # under its newer name where there is one (Ubuntu 24.04, Debian 13)
        if apt-cache show "${event}t64" >/dev/null 2>&1; then event=${event}t64; fi
        packages="$packages gcc-aarch64-linux-gnu libc6-dev:arm64 qemu-user libjansson-dev:arm64 $event:arm64 libcmocka-dev:arm64 zlib1g-dev:arm64 libzstd-dev:arm64" ;;
    oracle) packages="$packages python3 python3-venv" ;;
    page)   packages="$packages python3 chromium fonts-dejavu-core" ;;
    proxy)  packages="$packages python3 curl nginx-light openssl slowhttptest" ;;
    load)   packages="$packages wrk" ;;
    chroot) packages="$packages debootstrap" ;;
    *) echo "deps.sh: unknown group $group" >&2; exit 2 ;;
    esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    if command -v cc >/dev/null && command -v pkg-config >/dev/null && pkg-config --exists jansson libevent_core; then exit 0; fi
    echo "This system has no apt.  Facet needs, under Debian's names:$packages" >&2
    exit 1
fi

# A package may be there for two architectures: one line each.
native=$(dpkg --print-architecture)
missing=
for p in $packages; do
    case $p in *:*) arch=${p#*:} ;; *) arch=$native ;; esac
    dpkg-query -W -f '${Architecture} ${db:Status-Status}\n' "${p%:*}" 2>/dev/null |
        grep -qxE "($arch|all) installed" || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Please install, as root:  apt-get install$missing" >&2
        exit 1
    fi
    as_root="sudo DEBIAN_FRONTEND=noninteractive"
fi
export DEBIAN_FRONTEND=noninteractive
case "$missing" in
*:arm64*) dpkg --print-foreign-architectures | grep -qx arm64 || $as_root dpkg --add-architecture arm64 ;;
esac
echo "installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $as_root apt-get update -q && $as_root apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "deps.sh: could not install$missing" >&2
    exit 1
fi
