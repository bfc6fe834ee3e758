# Sourced by quickstart and run-tests: Debian packages and the virtual environments, each only where something is missing.

# The programs of Debian's administration are not on everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin

interrupted() {
    kill -TERM -- "-$STEP_PID" 2>/dev/null || true
    rm -f "$STEP_LOG"
    printf '\ninterrupted: %s\n' "$STEP_TEXT" >&2
    exit 130
}

# step TEXT COMMAND...: run a long command under a spinner; on failure show what it printed.
step() {
    local spin='|/-\' i=0 began=$SECONDS status=0
    STEP_TEXT=$1
    shift
    STEP_LOG=$(mktemp)
    # With job control it has a process group of its own, which hears of a Ctrl-C from us, and as a whole.
    set -m
    "$@" >"$STEP_LOG" 2>&1 </dev/null &
    STEP_PID=$!
    set +m
    trap interrupted INT TERM HUP
    if [ -t 1 ]; then
        while kill -0 "$STEP_PID" 2>/dev/null; do
            printf '\r%s %s (%d s) \033[K' "${spin:i++%4:1}" "$STEP_TEXT" $((SECONDS - began))
            sleep 0.2
        done
        printf '\r\033[K'
    fi
    wait "$STEP_PID" || status=$?
    trap - INT TERM HUP
    if [ "$status" = 0 ]; then
        echo "ok  $STEP_TEXT ($((SECONDS - began)) s)"
    else
        echo "failed: $STEP_TEXT" >&2
        tail -n 30 "$STEP_LOG" >&2
    fi
    rm -f "$STEP_LOG"
    return "$status"
}

# missing_packages FILE...: those of the listed packages that are not installed.
missing_packages() {
    local package
    grep -hv '^#' "$@" | while read -r package; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && apt-get install -q -y --no-install-recommends "$@"
}

# ensure_packages FILE...: install what is missing of the listed packages; needs root only then.
ensure_packages() {
    local missing
    missing=$(missing_packages "$@" | xargs)
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" != 0 ]; then
        echo "these packages are missing: $missing" >&2
        echo "install them: sudo apt-get install $missing" >&2
        return 1
    fi
    # shellcheck disable=SC2086
    step "installing Debian packages: $missing" install_packages $missing
}

install_cove() {
    .venv/bin/pip install -q --disable-pip-version-check -c requirements.lock -e "$1"
}

# new_venv DIRECTORY: an empty virtual environment, in place of what is there.
new_venv() {
    rm -rf "$1"
    # Debian's own Python first: it is the one whose venv package was installed above
    local python
    for python in /usr/bin/python3 python3; do
        "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
    done
    "$python" -m venv "$1"
}

make_venv() {
    new_venv .venv && install_cove "$1"
}

# ensure_venv SPEC: .venv with Cove in it; SPEC is `.` or `.[dev]`. Made anew when the requirements changed; only added to
# when the test tools are missing, since a running server may be using it.
ensure_venv() {
    local spec=$1 stamp found
    stamp=$(cat pyproject.toml requirements.lock | sha256sum | cut -d' ' -f1)
    found=$(cat .venv/.cove-stamp 2>/dev/null || true)
    if [ "$found" = "$stamp dev" ] || [ "$found $spec" = "$stamp ." ]; then
        return 0
    elif [ "$found" = "$stamp" ]; then
        step "adding the test tools to .venv" install_cove "$spec"
    else
        step "making the virtual environment .venv" make_venv "$spec"
    fi
    if [ "$spec" = . ]; then echo "$stamp"; else echo "$stamp dev"; fi >.venv/.cove-stamp
}

# The clients that Cove is tested with, and the public test suite. To take newer ones: raise the bounds, then write the
# lock anew with `pip freeze --all --exclude pip --exclude setuptools` in a fresh environment.
OPENSTACK_PEERS='
    python-openstackclient>=9,<11
    openstacksdk>=4.5,<5
    keystoneauth1>=5.10,<6
    keystone>=27,<31
    schemathesis>=4.4,<5
    tempest>=44,<48
    neutron-tempest-plugin>=2.12,<4'

make_openstack_venv() {
    # shellcheck disable=SC2086
    new_venv .venv-openstack && .venv-openstack/bin/pip install -q --disable-pip-version-check \
        -c requirements-openstack.lock $OPENSTACK_PEERS
}

# ensure_openstack_venv: .venv-openstack with the peers and without Cove. Made anew when what is wanted changed.
ensure_openstack_venv() {
    local stamp
    stamp=$( (echo "$OPENSTACK_PEERS"; cat requirements-openstack.lock) | sha256sum | cut -d' ' -f1)
    [ "$(cat .venv-openstack/.cove-stamp 2>/dev/null || true)" = "$stamp" ] && return 0
    step "making the virtual environment .venv-openstack" make_openstack_venv
    echo "$stamp" >.venv-openstack/.cove-stamp
}

# ensure_postgresql FILE: install PostgreSQL's programs without the cluster that Debian makes and starts with them: the
# tests start servers of their own.
ensure_postgresql() {
    [ -z "$(missing_packages "$1")" ] && return 0
    if [ "$(id -u)" = 0 ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        step "installing Debian packages: postgresql-common" install_packages postgresql-common
        echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
    fi
    ensure_packages "$1"
}
