#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Runs a command inside a throw-away set of namespaces: own mounts, network, processes, bpffs. Needs root, or sudo.
#
#   scripts/isolated.sh COMMAND [ARGUMENT...]
#
# Everything that the command makes (network namespaces, pins, daemons, files under TMPDIR) lives in that set and is gone
# when it ends, by itself or by a signal, also by SIGKILL: the first process of the set dies with `unshare`, and the kernel
# ends the rest. The exit code is the command's; after an interrupt 130, after a termination 143.
set -uo pipefail
[ $# -gt 0 ] || { printf 'usage: %s COMMAND [ARGUMENT...]\n' "$0" >&2; exit 2; }
export PATH="$PATH:/usr/sbin:/sbin"

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { printf 'isolated: root or sudo is needed\n' >&2; exit 1; }
    exec sudo --preserve-env=PATH,HOME,RUST_BACKTRACE,RUST_LIB_BACKTRACE,UPDATE_EXPECT,KEEP,WEIR_LOG "$0" "$@"
fi

# Runs as process 1 of the set. The whole of /run is ours: netns names, FRR's and nginx's sockets, temporary files.
inside() {
    set -e
    mount -t tmpfs -o mode=0755 tmpfs /run
    mkdir -p /run/netns /run/lock /run/weir /run/tmp
    chmod 1777 /run/tmp
    # The user outlives the package, and an emulated guest has only the user.
    if id frr >/dev/null 2>&1 && [ -d /etc/frr ]; then
        install -d -o frr -g frr /run/frr
        mount -t tmpfs -o mode=0755 tmpfs /etc/frr
    fi
    # FRR keeps crash logs there. Not hidden if the work tree itself lies in it.
    case "$PWD/" in /var/tmp/*) ;; *) mount -t tmpfs -o mode=1777 tmpfs /var/tmp ;; esac
    # A fresh sysfs shows the interfaces of this network namespace; bpffs is private to the set.
    mount -t sysfs sysfs /sys
    mount -t bpf -o mode=0700 bpf /sys/fs/bpf
    ip link set lo up
    export TMPDIR=/run/tmp VTYSH_HISTFILE=/dev/null WEIR_ISOLATED=1
    # Not `exec`: process 1 must be one that reaps orphans, and ends with the command's exit code.
    set +e
    trap '' INT
    ( trap - INT; exec "$@" )
}
export -f inside

# `setpriv`: the set also ends when this shell is killed outright.
set -m   # own process group for the set, so that a signal reaches it once, from here
setpriv --pdeathsig KILL unshare --mount --net --pid --fork --mount-proc --kill-child bash -c 'inside "$@"' isolated "$@" <&0 &
set_pid=$!
set +m

# `unshare` ignores polite signals while it waits: its death is what ends the set.
end_set() {
    trap '' INT TERM HUP
    kill -KILL "$set_pid" 2>/dev/null
    wait "$set_pid" 2>/dev/null
    exit "$1"
}
trap 'end_set 130' INT
trap 'end_set 143' TERM HUP
wait "$set_pid"
exit $?
