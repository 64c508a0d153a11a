#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Prepares a machine (Debian 12 or newer, with rustup's cargo) for work on Weir. Idempotent: what is there is left alone.
#
#   scripts/setup.sh build    compiler toolchain and bpf-linker: enough for `cargo build` and unit tests
#   scripts/setup.sh lab      build, and what the labs run: FRR, BIRD, GoBGP, nginx, iproute2, tcpdump, promtool (default)
#   scripts/setup.sh bench    lab, and what `make bench` compares real TCP with and loads it by: HAProxy, wrk
#   scripts/setup.sh check    build, and for `make check` cargo-deny, promtool, openapi-spec-validator
#   scripts/setup.sh deb      build, and for `make deb` cargo-deb, lintian and what they call
#   scripts/setup.sh fuzz     build, and cargo-fuzz with a C++ compiler for `make fuzz-short`
#   scripts/setup.sh vm       lab, and for `make test-vm` an emulator, and what its guests are made of
#
# Needs root, or sudo, only if Debian packages are missing. Starts no service: while packages are installed a policy file
# forbids it, and services that the packages enabled are disabled again. The policy file is removed however this ends.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly BPF_LINKER=0.10.4
readonly CARGO_DEB=3.8.0
readonly CARGO_DENY=0.20.2
readonly CARGO_FUZZ=0.13.2
readonly OPENAPI_SPEC_VALIDATOR=0.9.0
readonly POLICY=/usr/sbin/policy-rc.d
readonly BUILD_PACKAGES=(gcc libc6-dev make ca-certificates)
# gobgpd brings its client `gobgp`.
readonly LAB_PACKAGES=(iproute2 ethtool procps tcpdump curl nginx-light frr bird2 gobgpd)
# For the bench of real TCP.
readonly BENCH_PACKAGES=(haproxy wrk)
# For promtool; the server is never started.
readonly PROMTOOL_PACKAGES=(prometheus)
# dpkg-dev finds the libraries a binary needs, man-db lets lintian read manual pages, systemd has systemd-analyze.
readonly DEB_PACKAGES=(dpkg-dev lintian man-db systemd)
# qemu emulates the machine; binutils strips test binaries, dpkg has dpkg-deb, kmod makes the index of modules; the guest is a copy
# of these and of LAB_PACKAGES.
readonly VM_PACKAGES=(qemu-system-x86 binutils dpkg kmod)
# Units that packages of these lists enable on their own.
readonly ENABLED_UNITS=(nginx.service frr.service prometheus.service bird.service gobgpd.service haproxy.service)

export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin:$PATH"

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "root is needed for: $* (run this as root, or install sudo)"; fi
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]; }

# Our guard is a file with our mark; somebody else's policy is put aside for the run and comes back unchanged.
guard_on() {
    if [ -e "$POLICY" ] && ! grep -qs 'weir set-up' "$POLICY"; then as_root mv "$POLICY" "$POLICY.before-weir"; fi
    printf '#!/bin/sh\n# weir set-up: no service starts while packages are installed\nexit 101\n' \
        | as_root tee "$POLICY" >/dev/null
    as_root chmod 0755 "$POLICY"
}
guard_off() {
    if grep -qs 'weir set-up' "$POLICY"; then as_root rm -f "$POLICY"; fi
    if [ -e "$POLICY.before-weir" ]; then as_root mv "$POLICY.before-weir" "$POLICY"; fi
}

debian_packages() {
    local package missing=()
    for package in "$@"; do is_installed "$package" || missing+=("$package"); done
    if [ ${#missing[@]} -eq 0 ]; then say "Debian packages: all present"; return; fi
    command -v apt-get >/dev/null || die "not Debian: install these by hand: ${missing[*]}"
    say "Debian packages: installing ${missing[*]}"
    # A run that was killed outright may have left the guard behind; guard_on and guard_off take it over.
    trap guard_off EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    guard_on
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    if command -v systemctl >/dev/null; then
        for package in "${ENABLED_UNITS[@]}"; do
            case " ${missing[*]} " in *" ${package%.service}"*)
                say "leaving $package disabled"
                as_root systemctl disable --no-reload "$package" >/dev/null 2>&1 || say "$package was not enabled" ;;
            esac
        done
    fi
    guard_off
    trap - EXIT INT TERM HUP
}

rust_toolchain() {
    command -v rustup >/dev/null || die "rustup is missing: install it from https://rustup.rs, then run this again"
    local channel installed component complete=1
    channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    # Asked without network: a listing of what is installed.
    installed=$(rustup component list --installed --toolchain "$channel" 2>/dev/null || true)
    for component in rustc cargo rust-src rustfmt clippy; do
        grep -q "^$component\(-x86_64\|-aarch64\|\$\)" <<<"$installed" || complete=0
    done
    if [ $complete -eq 1 ]; then say "Rust $channel: present"; return; fi
    say "Rust $channel: installing with rust-src, rustfmt, clippy"
    rustup toolchain install --no-self-update --profile minimal \
        --component rust-src --component rustfmt --component clippy "$channel"
}

cargo_tool() { # name version
    local have
    have=$("$1" --version 2>/dev/null | awk '{print $2}' || true)
    if [ "$have" = "$2" ]; then say "$1 $2: present"; return; fi
    say "$1 $2: compiling (about a minute${have:+; found $have})"
    cargo install "$1@$2" --locked --quiet
}

# A Python program, in an environment of its own below the user's cache, unless the machine has one already.
openapi_validator() {
    local folder="${XDG_CACHE_HOME:-$HOME/.cache}/weir/openapi-spec-validator"
    if "$folder/bin/openapi-spec-validator" --version >/dev/null 2>&1 \
        || openapi-spec-validator --version >/dev/null 2>&1; then say "openapi-spec-validator: present"; return; fi
    debian_packages python3-venv
    say "openapi-spec-validator $OPENAPI_SPEC_VALIDATOR: installing"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "openapi-spec-validator==$OPENAPI_SPEC_VALIDATOR"
}

case "${1:-lab}" in
    build) debian_packages "${BUILD_PACKAGES[@]}"; rust_toolchain; cargo_tool bpf-linker "$BPF_LINKER" ;;
    lab)   debian_packages "${BUILD_PACKAGES[@]}" "${LAB_PACKAGES[@]}" "${PROMTOOL_PACKAGES[@]}"; rust_toolchain
           cargo_tool bpf-linker "$BPF_LINKER" ;;
    bench) debian_packages "${BUILD_PACKAGES[@]}" "${LAB_PACKAGES[@]}" "${BENCH_PACKAGES[@]}"; rust_toolchain
           cargo_tool bpf-linker "$BPF_LINKER" ;;
    check) debian_packages "${BUILD_PACKAGES[@]}" "${PROMTOOL_PACKAGES[@]}"; rust_toolchain; cargo_tool bpf-linker "$BPF_LINKER"
           cargo_tool cargo-deny "$CARGO_DENY"; openapi_validator ;;
    deb)   debian_packages "${BUILD_PACKAGES[@]}" "${DEB_PACKAGES[@]}"; rust_toolchain; cargo_tool bpf-linker "$BPF_LINKER"
           cargo_tool cargo-deb "$CARGO_DEB" ;;
    fuzz)  debian_packages "${BUILD_PACKAGES[@]}" g++; rust_toolchain; cargo_tool bpf-linker "$BPF_LINKER"
           cargo_tool cargo-fuzz "$CARGO_FUZZ" ;;
    vm)    debian_packages "${BUILD_PACKAGES[@]}" "${LAB_PACKAGES[@]}" "${VM_PACKAGES[@]}"; rust_toolchain
           cargo_tool bpf-linker "$BPF_LINKER" ;;
    *) printf 'usage: %s [build|lab|bench|check|deb|fuzz|vm]\n' "$0" >&2; exit 2 ;;
esac
