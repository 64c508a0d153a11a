// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is found out about the running kernel: the suite runs on kernels that have everything.

use weir_dataplane::kernel::probe::{Answer, Feature, Report, demand};

#[test]
#[ignore = "needs root and a private bpffs"]
fn every_needed_feature_of_this_kernel_is_found() {
    let report = Report::of_this_kernel();
    let needed = report.answers.iter().filter(|(feature, _)| !feature.is_optional());
    let lacking: Vec<_> = needed.filter(|(_, answer)| *answer != Answer::Present).collect();
    assert!(lacking.is_empty(), "{}: {lacking:?}", report.kernel);
    demand().unwrap();
}

#[test]
#[ignore = "needs root and a private bpffs"]
fn links_of_traffic_control_are_found_from_six_six() {
    let report = Report::of_this_kernel();
    let mut numbers = report.kernel.split(['.', '-', '+']).map_while(|word| word.parse::<u32>().ok());
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    // Not a fact of each distribution, but of those that the suite runs on.
    assert_eq!(report.has(Feature::Tcx), version >= (6, 6), "{}", report.kernel);
}
