# Sourced by run-tests: the interop tests with the Ceph of another Debian release, whose daemons and tools run in a root
# directory of their own. Roots are kept in ~/.cache/cove/ceph-roots; remove one to have it made anew.
#
# All mounts are in a private mount namespace and all processes in a private PID namespace: the kernel takes both away
# with the last of them, however the tests end.

CEPH_ROOTS=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/cove/ceph-roots
CEPH_PACKAGES=ceph-mon,ceph-osd,ceph-mgr,ceph-common,python3-rados
CEPH_PROGRAMS="ceph ceph-authtool ceph-conf ceph-dencoder ceph-mgr ceph-mon ceph-osd crushtool monmaptool osdmaptool rados rbd"

debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1
}

# make_ceph_root SUITE ROOT. COVE_STALE_MIRROR=1 takes a mirror that is a frozen snapshot; signatures are checked anyway.
make_ceph_root() {
    local suite=$1 root=$2 mirror=${COVE_DEBIAN_MIRROR:-} options=()
    [ -n "$mirror" ] || mirror=$(debian_mirror)
    [ -n "$mirror" ] || { apt-get update -q && mirror=$(debian_mirror); }
    [ -n "$mirror" ] || { echo "apt knows no Debian mirror here: name one in COVE_DEBIAN_MIRROR" >&2; return 1; }
    [ -z "${COVE_STALE_MIRROR:-}" ] || options+=('--aptopt=Acquire::Check-Valid-Until "false"')
    mkdir -p "$(dirname "$root")"
    rm -rf --one-file-system "$root.part"
    mmdebstrap --variant=minbase --include="$CEPH_PACKAGES" "${options[@]}" \
        --aptopt='Apt::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$suite" "$root.part" "$mirror" && mv "$root.part" "$root"
}

# in_ceph_root ROOT COMMAND...: in the namespaces; the root sees what the tests use, and they find its programs first.
in_ceph_root() {
    local root=$1 place program
    shift
    for place in /proc /sys /dev /tmp /var/tmp "$PWD"; do
        mkdir -p "$root$place"
        mount --rbind "$place" "$root$place"
    done
    mount -t tmpfs -o mode=755 none "$root/mnt"
    for program in $CEPH_PROGRAMS python3; do
        printf '#!/bin/sh\nexec unshare --root=%q --wd="$PWD" /usr/bin/%s "$@"\n' "$root" "$program" >"$root/mnt/$program"
        chmod 755 "$root/mnt/$program"
    done
    mv "$root/mnt/python3" "$root/mnt/ceph-python3" # nobody else shall find it
    export COVE_CEPH_PYTHON=$root/mnt/ceph-python3
    PATH=$root/mnt:$PATH exec "$@"
}

# skipped_tests SUITE: the options that leave out what cannot work there, one a line.
skipped_tests() {
    local suite=$1 where test
    grep -v '^#' scripts/ceph-versions.skip | while read -r where test; do
        if [ "$where" = '*' ] || [ "$where" = "$suite" ]; then
            echo "--deselect=${test%% # *}"
        fi
    done
}

# interop_versions [SUITE...] [PYTEST ARGUMENTS...]
interop_versions() {
    local suite root status=0 suites=() skipped
    while [ $# -gt 0 ] && [[ $1 =~ ^[a-z]+$ ]]; do
        suites+=("$1")
        shift
    done
    [ ${#suites[@]} -gt 0 ] || suites=(trixie sid)
    [ $# -gt 0 ] || set -- tests/interop
    if [ "$(id -u)" != 0 ]; then
        echo "interop-ceph-versions needs root, to make roots and to mount" >&2
        return 1
    fi
    for suite in "${suites[@]}"; do
        root=$CEPH_ROOTS/$suite
        [ -d "$root" ] || step "making a root of Debian $suite with its Ceph" make_ceph_root "$suite" "$root" || return 1
        echo "Debian $suite: $(chroot "$root" ceph-mon --version)"
        mapfile -t skipped < <(skipped_tests "$suite")
        setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --mount-proc --kill-child \
            bash -euc '. scripts/ceph-versions.sh; in_ceph_root "$@"' bash "$root" \
            .venv/bin/python -m pytest -q -p no:cacheprovider "${skipped[@]}" "$@" || status=$?
    done
    return "$status"
}
