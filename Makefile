# SPDX-License-Identifier: Apache-2.0 OR MIT
# The commands of Weir. `make demo` and `make test` prepare the machine themselves (scripts/setup.sh), build outside and
# run inside a throw-away set of namespaces (scripts/isolated.sh). The logic is in xtask.
#
#   make demo         the lab's story; KEEP=1 leaves the lab up
#   make check        fmt, clippy as errors, licences, house rules
#   make test         every test; last line `N passed, N failed`
#   make test-all     everything long: ten million packets on host and kernel, what measures, older kernels, the demo, the package, fuzzing, the bench
#   make test-vm      tests of the kernel programs on Debian's 6.1 and 6.12 kernels, emulated; VM_OPTIONS='--kernel 6.1'
#   make deb          the Debian package, to target/debian/
#   make test-deb     the package again, and looked at: lintian, contents, units, the binary inside
#   make fuzz-short   each fuzz target for FUZZ_SECONDS (default 30)
#   make fuzz         FUZZ_INPUTS inputs over all targets (default 100 million), with a table of what came out
#   make bench        what rows do, what changes, packets, live frames and real TCP cost, to target/bench/; for a quick look
#                     BENCH_ROUNDS=3 LIVE_ROUNDS=3 TCP_ROUNDS=1
#   make bench-bgp    Weir, BIRD and GoBGP side by side as speakers, to target/bench/bgp.json; BGP_ROUNDS=1 for a quick look

SHELL := /bin/bash
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
KEEP ?=
BENCH_ROUNDS ?= 15
LIVE_ROUNDS ?= 7
TCP_ROUNDS ?= 5
BGP_ROUNDS ?= 5
FUZZ_SECONDS ?= 30
FUZZ_INPUTS ?= 100000000

.PHONY: demo check test bench fuzz-short
demo: setup-lab
	@KEEP='$(KEEP)' cargo xtask demo

check: setup-check
	@cargo xtask check

test: setup-lab
	@cargo xtask test $(TEST_OPTIONS)

# The last one shows the goals of those before it, so none may be left of a run before.
bench: setup-bench
	@rm -f target/bench/{rows,apply,live,dataplane}.json
	@cargo bench -p weir-dataplane --bench rows
	@cargo bench -p weir-dataplane --bench apply --config 'target."cfg(all())".runner = "scripts/isolated.sh"'
	@cargo bench -p weir-dataplane --bench live --config 'target."cfg(all())".runner = "scripts/isolated.sh"' \
		-- --rounds '$(LIVE_ROUNDS)'
	@cargo bench -p weir-appliance --bench tcp --config 'target."cfg(all())".runner = "scripts/isolated.sh"' \
		-- --rounds '$(TCP_ROUNDS)'
	@cargo bench -p weir-dataplane --bench dataplane --config 'target."cfg(all())".runner = "scripts/isolated.sh"' \
		-- --rounds '$(BENCH_ROUNDS)'

.PHONY: bench-bgp
bench-bgp: setup-lab
	@cargo bench -p weir-appliance --bench bgp --config 'target."cfg(all())".runner = "scripts/isolated.sh"' \
		-- --rounds '$(BGP_ROUNDS)'

.PHONY: deb test-deb
deb test-deb: setup-deb
	@cargo xtask $@

.PHONY: test-vm
test-vm: setup-vm
	@cargo xtask test-vm $(VM_OPTIONS)

.PHONY: test-all
test-all: export WEIR_DIFF_PACKETS = 10000000
test-all: export WEIR_BGP_DIFF_CASES = 4000000
test-all: export WEIR_BGP_MUTATIONS = 2000000
test-all: TEST_OPTIONS = --measures
test-all: check test test-vm demo test-deb fuzz bench bench-bgp

# The pinned stable compiler has what fuzzing needs behind RUSTC_BOOTSTRAP.
fuzz-short: export RUSTC_BOOTSTRAP = 1
fuzz-short: setup-fuzz
	@cd fuzz && cargo run --quiet --release --bin seed
	@cd fuzz && set -e && for target in $$(cargo fuzz list | grep -v '^seed$$'); do \
		cargo fuzz run --sanitizer none $$target -- -max_total_time='$(FUZZ_SECONDS)' -max_len=4096 -timeout=5 -rss_limit_mb=512; done

.PHONY: fuzz
fuzz: setup-fuzz
	@fuzz/campaign.sh '$(FUZZ_INPUTS)'

.PHONY: setup-build setup-lab setup-bench setup-check setup-deb setup-fuzz setup-vm
setup-build setup-lab setup-bench setup-check setup-deb setup-fuzz setup-vm: setup-%:
	@scripts/setup.sh $*
