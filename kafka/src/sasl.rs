//! Who the client is: PLAIN (RFC 4616), and SCRAM (RFC 5802), which proves the password without sending it and has the
//! broker prove that it knows it, too. Pure: nonces come in.

use std::num::NonZeroU32;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac, pbkdf2};

use crate::config::{Mechanism, Sasl};

/// More rounds than that are a broker that wants to keep the client busy.
const MAX_ITERATIONS: u32 = 1_000_000;

/// `n`: no channel binding.
const BINDING: &str = "n,,";

pub(crate) fn plain(sasl: &Sasl) -> Vec<u8> {
    format!("\0{}\0{}", sasl.username, sasl.password).into_bytes()
}

/// One exchange, which has begun.
pub(crate) struct Scram<'a> {
    sasl: &'a Sasl,
    hash: Hash,
    nonce: String,
    first: String,
}

struct Hash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl Hash {
    fn of(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::ScramSha512 => {
                Self { digest: &digest::SHA512, hmac: hmac::HMAC_SHA512, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512 }
            }
            _ => Self { digest: &digest::SHA256, hmac: hmac::HMAC_SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256 },
        }
    }

    fn mac(&self, key: &[u8], message: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac, key), message)
    }
}

/// What the client says at last, and what the broker must answer.
pub(crate) struct Proof {
    pub(crate) message: String,
    key: hmac::Key,
    signed: String,
}

impl<'a> Scram<'a> {
    /// `nonce` has been used never before, and has no comma.
    pub(crate) fn begin(sasl: &'a Sasl, nonce: &str) -> Self {
        let name = sasl.username.replace('=', "=3D").replace(',', "=2C");
        let first = format!("n={name},r={nonce}");
        Self { sasl, hash: Hash::of(sasl.mechanism), nonce: nonce.to_owned(), first }
    }

    pub(crate) fn first_message(&self) -> String {
        format!("{BINDING}{}", self.first)
    }

    /// The answer to what the broker said: why it cannot be answered, otherwise.
    pub(crate) fn prove(&self, server_first: &str) -> Result<Proof, &'static str> {
        let field = |name| field(server_first, name).ok_or("the broker's first message lacks a field");
        let (nonce, salt, iterations) = (field("r=")?, field("s=")?, field("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce == self.nonce {
            return Err("the broker answers somebody else");
        }
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| "the salt is no base64")?;
        let iterations = iterations.parse().ok().filter(|iterations: &NonZeroU32| iterations.get() <= MAX_ITERATIONS);
        let iterations = iterations.ok_or("the number of rounds cannot be used")?;

        let mut salted = vec![0; self.hash.digest.output_len()];
        pbkdf2::derive(self.hash.pbkdf2, iterations, &salt, self.sasl.password.as_bytes(), &mut salted);
        let client_key = self.hash.mac(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest, client_key.as_ref());
        let without_proof = format!("c={},r={nonce}", BASE64_STANDARD.encode(BINDING));
        let signed = format!("{},{server_first},{without_proof}", self.first);
        let signature = self.hash.mac(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, sign)| key ^ sign).collect();
        let server_key = self.hash.mac(&salted, b"Server Key");
        Ok(Proof {
            message: format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)),
            key: hmac::Key::new(self.hash.hmac, server_key.as_ref()),
            signed,
        })
    }
}

impl Proof {
    /// Whether the broker knows the password.
    pub(crate) fn check(&self, server_final: &str) -> Result<(), &'static str> {
        let signature = field(server_final, "v=").ok_or("the broker's last message lacks its signature")?;
        let signature = BASE64_STANDARD.decode(signature).map_err(|_| "the signature is no base64")?;
        hmac::verify(&self.key, self.signed.as_bytes(), &signature).map_err(|_| "the broker does not know the password")
    }
}

fn field<'t>(message: &'t str, name: &str) -> Option<&'t str> {
    message.split(',').find_map(|field| field.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn user(mechanism: Mechanism) -> Sasl {
        Sasl { mechanism, username: "user".to_owned(), password: "pencil".to_owned() }
    }

    #[test]
    fn the_exchange_of_the_standard() {
        let sasl = user(Mechanism::ScramSha256);
        let scram = Scram::begin(&sasl, NONCE);
        assert_eq!(scram.first_message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = scram.prove(SERVER_FIRST).ok().unwrap();
        assert_eq!(
            proof.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(proof.check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert!(proof.check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=").is_err());
        assert!(proof.check("e=other-error").is_err());
    }

    #[test]
    fn a_broker_that_is_not_who_it_should_be_is_told_nothing() {
        let sasl = user(Mechanism::ScramSha512);
        let scram = Scram::begin(&sasl, NONCE);
        for wrong in [
            "r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000",
            "r=rOprNGfwEbeRWgbNEkqOx,i=4096",
        ] {
            assert!(scram.prove(wrong).is_err(), "{wrong}");
        }
        assert_eq!(plain(&sasl), b"\0user\0pencil");
        assert_eq!(format!("{sasl:?}"), "SCRAM-SHA-512 as user");
    }

    #[test]
    fn names_are_escaped() {
        let sasl = Sasl { username: "a=b,c".to_owned(), ..user(Mechanism::ScramSha256) };
        assert_eq!(Scram::begin(&sasl, "x").first_message(), "n,,n=a=3Db=2Cc,r=x");
    }
}
