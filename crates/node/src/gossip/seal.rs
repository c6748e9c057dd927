//! Packets that only holders of the cluster's secret can make.
//!
//! A packet: magic `LBG1`, 16 bytes of HMAC-SHA256 over (domain tag, length of the cluster id as u64 little-endian,
//! cluster id, payload), payload. The cluster id itself does not travel.

use hmac::{Hmac, Mac};
use longbow_types::ClusterId;
use sha2::Sha256;

const MAGIC: &[u8] = b"LBG1";
const MAC_BYTES: usize = 16;

/// Seals and opens the packets of one cluster.
#[derive(Clone)]
pub(super) struct Seal(Hmac<Sha256>);

impl Seal {
    pub(super) fn new(cluster: &ClusterId, secret: &[u8]) -> Self {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret).expect("HMAC takes keys of any length");
        mac.update(b"longbow gossip 1");
        mac.update(&(cluster.as_str().len() as u64).to_le_bytes());
        mac.update(cluster.as_str().as_bytes());
        Self(mac)
    }

    /// The packet of a payload.
    pub(super) fn close(&self, payload: &[u8]) -> Vec<u8> {
        let mac = self.0.clone().chain_update(payload).finalize().into_bytes();
        [MAGIC, &mac[..MAC_BYTES], payload].concat()
    }

    /// The payload of a packet; none if we or ours did not make it. Compares in constant time.
    pub(super) fn open<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        let rest = packet.strip_prefix(MAGIC)?;
        let (mac, payload) = rest.split_at_checked(MAC_BYTES)?;
        self.0
            .clone()
            .chain_update(payload)
            .verify_truncated_left(mac)
            .ok()?;
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seal(cluster: &str, secret: &str) -> Seal {
        Seal::new(&cluster.parse().unwrap(), secret.as_bytes())
    }

    proptest! {
        #[test]
        fn only_our_own_unchanged_packets_open(payload in proptest::collection::vec(any::<u8>(), 0..64),
                                               at in any::<proptest::sample::Index>(), bit in 0..8_u8) {
            let ours = seal("a", "secret");
            let mut packet = ours.close(&payload);
            prop_assert!(packet.len() == payload.len() + 20);
            prop_assert_eq!(ours.open(&packet), Some(&payload[..]));
            prop_assert_eq!(seal("b", "secret").open(&packet), None);
            prop_assert_eq!(seal("a", "other").open(&packet), None);
            let at = at.index(packet.len());
            packet[at] ^= 1 << bit;
            prop_assert_eq!(ours.open(&packet), None);
        }

        #[test]
        fn garbage_does_not_open(packet in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(seal("a", "secret").open(&packet), None);
        }
    }
}
