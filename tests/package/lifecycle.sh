#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Installs, upgrades, removes and purges the package for real, in a copy of this machine that is thrown away: an overlay whose
# changes live in memory, with its own bpffs, inside scripts/isolated.sh.
#
#   scripts/isolated.sh tests/package/lifecycle.sh PACKAGE.deb
#
# dpkg, the maintainer scripts, sysusers, tmpfiles and `weir` are real. There is no service manager in such a set, so
# `systemctl` and `deb-systemd-invoke` are stand-ins that write down what they are asked to do; whether a unit is active is
# the content of a file. Ends with 0 if every step held.
set -euo pipefail
[ "${WEIR_ISOLATED:-}" = 1 ] || { echo "lifecycle: run me by scripts/isolated.sh" >&2; exit 2; }
package=$(realpath "$1")
readonly root=/run/overlay/root

say() { printf 'lifecycle: %s\n' "$*"; }
fail() { printf 'lifecycle: FAILED: %s\n' "$*" >&2; cat "$root/tmp/dpkg.log" >&2 || true; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1: want '$3', found '$2'"; }
inside() { chroot "$root" "$@"; }
calls() { tr '\n' ';' <"$root/calls"; }
dpkg_does() { # dpkg's arguments; what the stand-ins were asked is in `calls` afterwards
    : >"$root/calls"
    inside dpkg "$@" >"$root/tmp/dpkg.log" 2>&1 || fail "dpkg $*"
}
upgrade() { dpkg_does --install /weir.deb; }
mode() { inside stat -c '%a %U:%G' "$1"; }

mkdir -p /run/overlay
mount -t tmpfs tmpfs /run/overlay
mkdir -p /run/overlay/changes /run/overlay/work "$root"
mount -t overlay overlay -o lowerdir=/,upperdir=/run/overlay/changes,workdir=/run/overlay/work "$root"
# Read-only: what the package says about the kernel's settings is not for this machine.
mount -t proc -o ro proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t sysfs sysfs "$root/sys"
mount -t bpf -o mode=0700 bpf "$root/sys/fs/bpf"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/run/systemd/system"
cp "$package" "$root/weir.deb"

cat >"$root/usr/local/sbin/systemctl" <<'STUB'
#!/bin/sh
case "$*" in
*is-active*) grep -qx "$3" /active ;;
*daemon-reload*) ;;
*) echo "systemctl $*" >>/calls ;;
esac
STUB
cat >"$root/usr/local/sbin/deb-systemd-invoke" <<'STUB'
#!/bin/sh
echo "invoke $*" >>/calls
STUB
chmod 0755 "$root/usr/local/sbin/systemctl" "$root/usr/local/sbin/deb-systemd-invoke"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
: >"$root/active"

say "install: a user, folders, and nothing started or enabled"
dpkg_does --install /weir.deb
is "what was asked of the service manager" "$(calls)" ""
inside weir --version >/dev/null || fail "weir does not run"
inside id weir >/dev/null || fail "no user weir"
is "/etc/weir" "$(mode /etc/weir)" "750 root:weir"
is "/sys/fs/bpf" "$(mode /sys/fs/bpf)" "711 root:root"
is "/sys/fs/bpf/weir" "$(mode /sys/fs/bpf/weir)" "700 weir:weir"
[ ! -e "$root/etc/systemd/system/multi-user.target.wants/weir.service" ] || fail "the unit is enabled"
[ ! -e "$root/etc/weir/weir.toml" ] || fail "there is a document that nobody wrote"
inside dpkg --verify weir || fail "files differ from the package"

say "upgrade, nothing runs: nothing happens"
cp "$root/usr/share/doc/weir/examples/weir.toml" "$root/usr/share/doc/weir/examples/agent.toml" "$root/etc/weir/"
upgrade
is "what was asked" "$(calls)" ""

say "upgrade, both run, what is pinned fits: handed over"
printf 'weir.service\nweir-agent.service\n' >"$root/active"
upgrade
is "what was asked" "$(calls)" "invoke restart weir.service;systemctl kill --kill-whom=main --signal=KILL weir-agent.service;invoke restart weir-agent.service;"

say "upgrade, pins of another layout: a clean restart, not a kill"
echo weir.service >"$root/active"
mkdir -p "$root/sys/fs/bpf/weir/default/v0"
upgrade
is "what was asked" "$(calls)" "invoke stop weir.service;invoke restart weir.service;"
grep -q 'stopping cleanly' "$root/tmp/dpkg.log" || fail "the script does not say so"

say "upgrade, the new version refuses the document: the old process goes on"
echo 'nonsense = true' >>"$root/etc/weir/weir.toml"
upgrade
is "what was asked" "$(calls)" ""
grep -q 'the old process goes on' "$root/tmp/dpkg.log" || fail "the script does not say so"

say "remove: stopped, and nothing pinned"
mkdir -p "$root/var/lib/weir"
dpkg_does --remove weir
is "what was asked" "$(calls)" "invoke stop weir-agent.service weir.service;"
[ ! -e "$root/sys/fs/bpf/weir/default" ] || fail "pins are left"
[ ! -e "$root/usr/bin/weir" ] || fail "the program is left"
[ -e "$root/etc/needrestart/conf.d/weir.conf" ] || fail "a removal keeps configuration"

say "purge: what the operator wrote stays, all else goes"
dpkg_does --purge weir
for gone in /etc/needrestart/conf.d/weir.conf /var/lib/weir /sys/fs/bpf/weir /usr/share/doc/weir; do
    [ ! -e "$root$gone" ] || fail "$gone is left"
done
[ -e "$root/etc/weir/weir.toml" ] || fail "the operator's document is gone"
say "every step held"
