// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads the tables back, so that a new process goes on where the last one ended, wherever that was.

use weir_dataplane_core::PoolValue;
use weir_dataplane_core::flow::Idle;

use super::OpenError;
use super::tables::Tables;
use crate::config::Capacity;
use crate::identity;
use crate::kernel::maps::Maps;
use crate::regions::Region;

/// What the maps hold. Nothing is written: until the first desired state arrives, packets go on as before.
pub(super) fn tables(maps: &Maps, capacity: &Capacity) -> Result<Tables, OpenError> {
    let mut tables = Tables::new(capacity);
    for id in 0..maps.pools.len() {
        let value = maps.pools.read(id);
        if value.identity == 0 {
            continue;
        }
        tables.pools.adopt(id, value.identity);
        let (first, count) = PoolValue::region(value.rows);
        let region = Region { first, count };
        if count == 0 {
            continue;
        }
        if tables.regions.adopt(region) {
            tables.pool_regions.insert(id, region);
        } else {
            tracing::warn!(pool = id, first, count, "adopted rows overlap others; they will be written anew");
        }
    }
    for id in 1..maps.backends.len() {
        let value = maps.backends.read(id);
        if value.identity != 0 {
            tables.backends.adopt(id, value.identity);
            tables.backend_pools.insert(id, value.pool);
        }
    }
    for id in 1..maps.next_hops.len() {
        let value = maps.next_hops.read(id);
        if value.ifindex != 0 {
            tables.next_hops.adopt(u16::try_from(id).expect("the table is small"), value);
        }
    }
    for entry in maps.services.iter() {
        let (key, value) = entry.map_err(|source| OpenError::Adopt(Box::new(source)))?;
        if key.is_marker() {
            tables.vips.adopt(value.id, identity::vip(&key));
        } else if key.is_service() {
            tables.services.adopt(value.id, identity::service(&key));
            let idle = tables.pool_idle.entry(value.pool).or_default();
            *idle = Idle::from_raw(value.idle).established().max(*idle);
        }
        tables.service_map.insert(key, value);
    }
    for entry in maps.prefixes.iter() {
        let (_, prefix) = entry.map_err(|source| OpenError::Adopt(Box::new(source)))?;
        tables.prefixes.insert(prefix);
    }
    Ok(tables)
}
