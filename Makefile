# SPDX-License-Identifier: Apache-2.0 OR MIT
# The commands of Weir. `make demo` and `make test` prepare the machine themselves (scripts/setup.sh), build outside and
# run inside a throw-away set of namespaces (scripts/isolated.sh). The logic is in xtask.
#
#   make demo         the lab's story; KEEP=1 leaves the lab up
#   make check        fmt, clippy as errors, licences, house rules
#   make test         every test; last line `N passed, N failed`
#   make bench        what rows do and what packets cost, to target/bench/; BENCH_ROUNDS=3 for a quick look

SHELL := /bin/bash
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
KEEP ?=
BENCH_ROUNDS ?= 15

.PHONY: demo check test bench
demo: setup-lab
	@KEEP='$(KEEP)' cargo xtask demo

check: setup-check
	@cargo xtask check

test: setup-lab
	@cargo xtask test

bench: setup-build
	@cargo bench -p weir-dataplane --bench rows
	@cargo bench -p weir-dataplane --bench dataplane --config 'target."cfg(all())".runner = "scripts/isolated.sh"' \
		-- --rounds '$(BENCH_ROUNDS)'

.PHONY: setup-build setup-lab setup-check
setup-build setup-lab setup-check: setup-%:
	@scripts/setup.sh $*
