// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Settings of the packet path that concern all services: in the document as the dataplane wants them.

pub use weir_dataplane::forwarding::Limits;
