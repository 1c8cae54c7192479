//! Codes, tokens and passwords.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};

/// Letters of join codes: those that nobody mistakes for another, read aloud or on a projector.
const CODE_LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Letters of a code: 31⁸ codes, of which a guesser who may try ten a minute finds none.
const CODE_LENGTH: usize = 8;
/// Bytes of a token.
const TOKEN_BYTES: usize = 32;

/// Memory of a password's hash, in KiB; OWASP's second choice, and a tenth of a second.
/// <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>
const HASH_MEMORY: u32 = 19 * 1024;
const HASH_ROUNDS: u32 = 2;

/// A password that cannot be hashed, or a hash that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct HashError(String);

/// A new join code, such as `k7mw-pq2x`.
#[must_use]
pub fn code() -> String {
    let mut random = rand::rng();
    let mut code: String = (0..CODE_LENGTH)
        .map(|_| char::from(CODE_LETTERS[random.random_range(0..CODE_LETTERS.len())]))
        .collect();
    code.insert(CODE_LENGTH / 2, '-');
    code
}

/// A code as people type it: dashes, spaces and capitals aside.
#[must_use]
pub fn plain_code(typed: &str) -> String {
    typed
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// True where two secrets are the same; takes as long whatever differs.
#[must_use]
pub fn same(left: &str, right: &str) -> bool {
    let (left, right) = (digest(left), digest(right));
    let differences = left.bytes().zip(right.bytes());
    differences.fold(0, |found, (left, right)| found | (left ^ right)) == 0
}

/// A new token of 256 bits.
#[must_use]
pub fn token() -> String {
    let bytes: [u8; TOKEN_BYTES] = rand::rng().random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What is kept of a token: whoever reads the file cannot use it.
#[must_use]
pub fn digest(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

/// What is kept of a password. Takes about a tenth of a second of a core.
///
/// # Errors
/// Where the password is empty or far too long.
pub fn hash(password: &str) -> Result<String, HashError> {
    if password.is_empty() {
        return Err(HashError("it is empty".to_owned()));
    }
    let salt: [u8; 16] = rand::rng().random();
    let salt = SaltString::encode_b64(&salt).map_err(|error| HashError(error.to_string()))?;
    let hash = hasher()?.hash_password(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string())
        .map_err(|error| HashError(error.to_string()))
}

/// True where the password is the one that was hashed. Takes as long as [`hash`].
#[must_use]
pub fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

fn hasher() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(HASH_MEMORY, HASH_ROUNDS, 1, None);
    let params = params.map_err(|error| HashError(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_typed_as_it_is_read() {
        let code = code();
        assert_eq!(code.len(), CODE_LENGTH + 1);
        assert!(same(&plain_code(&code.to_uppercase()), &plain_code(&code)));
        assert_eq!(plain_code(" K7MW pq2x "), "k7mwpq2x");
    }

    #[test]
    fn a_password_is_known_again_and_no_other_is() {
        let hash = hash("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(verify("correct horse", &hash));
        assert!(!verify("correct house", &hash));
        assert!(!verify("correct horse", "nonsense"));
        assert!(super::hash("").is_err());
    }

    #[test]
    fn tokens_differ_and_are_not_kept_as_they_are() {
        let (one, other) = (token(), token());
        assert_ne!(one, other);
        assert!(!digest(&one).contains(&one) && same(&one, &one) && !same(&one, &other));
    }
}
