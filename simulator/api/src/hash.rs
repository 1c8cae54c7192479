//! The short hashes in generated names.

/// Letters that a hash is spelt with, so that it cannot form a word.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a, 32 bits.
#[must_use]
pub fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// The decimal digits of `hash`, re-spelt as Kubernetes' `rand.SafeEncodeString` does.
#[must_use]
pub fn safe_encode(hash: u32) -> String {
    hash.to_string()
        .bytes()
        .map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]))
        .collect()
}

/// The `pod-template-hash` of a template: stable and distinct, though not the value that a Go
/// controller would compute (that one hashes Go's own print of the structure).
///
/// `collision_count` sets a new hash apart from an existing ReplicaSet of the same name.
#[must_use]
pub fn pod_template_hash(template: &impl serde::Serialize, collision_count: Option<i32>) -> String {
    let mut bytes = serde_json::to_vec(template).expect("a pod template is representable as JSON");
    if let Some(count) = collision_count {
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    safe_encode(fnv32a(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_fnv() {
        assert_eq!(fnv32a(b""), 0x811c_9dc5);
        assert_eq!(fnv32a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn a_collision_count_changes_the_hash() {
        let template = serde_json::json!({"spec": {}});
        assert_ne!(
            pod_template_hash(&template, None),
            pod_template_hash(&template, Some(1))
        );
        assert_eq!(
            pod_template_hash(&template, Some(1)),
            pod_template_hash(&template, Some(1))
        );
    }

    #[test]
    fn an_encoded_hash_uses_only_safe_letters() {
        assert!(
            safe_encode(u32::MAX)
                .bytes()
                .all(|byte| ALPHABET.contains(&byte))
        );
    }
}
