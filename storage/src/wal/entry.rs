//! One entry of a segment as bytes; the layout is drawn in [`super`].

use bytes::Bytes;
use model::TenantId;

use super::MAX_PAYLOAD_BYTES;

pub(super) const ENTRY_HEADER_BYTES: usize = 20;
pub(super) const ENTRY_MAGIC: [u8; 4] = *b"MENT";
const KIND_OTLP_TRACES: u8 = 1;

/// The fixed part of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryHeader {
    body_bytes: u32,
    tenant_bytes: u16,
    kind: u8,
    body_checksum: u32,
}

impl EntryHeader {
    /// `payload` is at most [`MAX_PAYLOAD_BYTES`] long, and a tenant id far shorter than its length field allows.
    pub(super) fn of(salt: u32, tenant: &TenantId, payload: &[u8]) -> Self {
        debug_assert!(payload.len() <= MAX_PAYLOAD_BYTES);
        let tenant = tenant.as_str().as_bytes();
        let mut checksum = crc32fast::Hasher::new_with_initial(salt);
        checksum.update(tenant);
        checksum.update(payload);
        Self {
            body_bytes: (tenant.len() + payload.len()) as u32,
            tenant_bytes: tenant.len() as u16,
            kind: KIND_OTLP_TRACES,
            body_checksum: checksum.finalize(),
        }
    }

    pub(super) fn encode(&self, salt: u32) -> [u8; ENTRY_HEADER_BYTES] {
        let mut bytes = [0; ENTRY_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&ENTRY_MAGIC);
        bytes[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.tenant_bytes.to_le_bytes());
        bytes[10] = self.kind;
        bytes[12..16].copy_from_slice(&self.body_checksum.to_le_bytes());
        let checksum = salted_checksum(salt, &bytes[..16]);
        bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` when these bytes are not the header of an entry of the segment with this salt.
    pub(super) fn decode(salt: u32, bytes: &[u8; ENTRY_HEADER_BYTES]) -> Option<Self> {
        let [m0, m1, m2, m3, l0, l1, l2, l3, t0, t1, kind, _zero, b0, b1, b2, b3, c0, c1, c2, c3] = *bytes;
        if [m0, m1, m2, m3] != ENTRY_MAGIC
            || u32::from_le_bytes([c0, c1, c2, c3]) != salted_checksum(salt, &bytes[..16])
        {
            return None;
        }
        let header = Self {
            body_bytes: u32::from_le_bytes([l0, l1, l2, l3]),
            tenant_bytes: u16::from_le_bytes([t0, t1]),
            kind,
            body_checksum: u32::from_le_bytes([b0, b1, b2, b3]),
        };
        let longest_body_bytes = MAX_PAYLOAD_BYTES + usize::from(header.tenant_bytes);
        let tenant_fits = u32::from(header.tenant_bytes) <= header.body_bytes;
        (tenant_fits && header.body_bytes as usize <= longest_body_bytes).then_some(header)
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes as usize
    }

    /// Checks the body and takes it apart; the error says what is wrong with it.
    pub(super) fn open_body(&self, salt: u32, body: Bytes) -> Result<(TenantId, Bytes), &'static str> {
        if salted_checksum(salt, &body) != self.body_checksum {
            return Err("checksum of the entry does not match");
        }
        if self.kind != KIND_OTLP_TRACES {
            return Err("unknown kind of entry");
        }
        let mut tenant = body;
        let payload = tenant.split_off(usize::from(self.tenant_bytes).min(tenant.len()));
        let text = std::str::from_utf8(&tenant).map_err(|_| "tenant is not text")?;
        Ok((TenantId::parse(text).map_err(|_| "tenant is not valid")?, payload))
    }
}

fn salted_checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new_with_initial(salt);
    checksum.update(bytes);
    checksum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_salt_opens_an_entry() {
        let tenant = TenantId::single();
        let header = EntryHeader::of(7, &tenant, b"payload");
        let bytes = header.encode(7);
        assert_eq!(EntryHeader::decode(7, &bytes), Some(header));
        assert_eq!(EntryHeader::decode(8, &bytes), None);
        let body = Bytes::from_static(b"single-tenantpayload");
        assert_eq!(header.open_body(7, body.clone()), Ok((tenant, Bytes::from_static(b"payload"))));
        assert!(header.open_body(8, body).is_err());
    }
}
