#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A campaign of INPUTS inputs (default 100 million) over decoders and packet logic, each target by its share, one process at
# a time and nicely. Ends with a table: inputs, seconds, edges covered, findings. Fails if there is a finding.
#
#   fuzz/campaign.sh [INPUTS [TARGET…]]
set -euo pipefail
cd "$(dirname "$0")"
inputs=${1:-100000000}
shift || true
export RUSTC_BOOTSTRAP=1

# Percent of the inputs. A session costs what fifty decodings do, so the two machines come on top with one each.
declare -A share=([bgp_update]=28 [bgp_open]=12 [bgp_message]=14 [bgp_notification]=6 [bgp_refresh]=4 [bgp_ra]=4 [bfd_packet]=4
	[dataplane_frame]=14 [dataplane_agent]=8 [dataplane_check]=4 [dataplane_path]=2 [bgp_session]=1 [bfd_session]=1)
# Long messages are only found in long inputs.
declare -A longest=([bgp_message]=16384)
order=(bgp_update bgp_open bgp_message bgp_notification bgp_refresh bgp_ra bfd_packet dataplane_frame dataplane_agent dataplane_check
	dataplane_path bgp_session bfd_session)
[[ $# -eq 0 ]] || order=("$@")

nice -n 19 cargo run --quiet --release --bin seed
logs=target/campaign
mkdir -p "$logs"
table=() total=0 findings=0
for target in "${order[@]}"; do
	# The allocator of this crate counts by itself, and what reads octets is safe code, but for the host's packet, which casts
	# behind a check of its bounds: no sanitizer, four times the inputs.
	nice -n 19 cargo fuzz build --sanitizer none "$target" 2>"$logs/$target.build" || { cat "$logs/$target.build"; exit 1; }
	log=$logs/$target.log before=$SECONDS found=0
	nice -n 19 cargo fuzz run --sanitizer none "$target" -- -runs=$((inputs / 100 * share[$target])) \
		-max_len="${longest[$target]:-4096}" -timeout=5 -rss_limit_mb=512 -print_final_stats=1 >"$log" 2>&1 || found=1
	ran=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
	table+=("$(printf '%-17s %12d %7d %6d %8d' "$target" "${ran:-0}" $((SECONDS - before)) "${edges:-0}" "$found")")
	total=$((total + ${ran:-0})) findings=$((findings + found))
	[[ $found -eq 0 ]] || tail -n 40 "$log"
done
printf '%-17s %12s %7s %6s %8s\n' target inputs seconds edges findings
printf '%s\n' "${table[@]}"
printf 'in sum %d inputs, %d findings\n' "$total" "$findings"
[[ $findings -eq 0 ]]
