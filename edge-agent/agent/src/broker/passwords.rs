//! The password file of the embedded broker, as `mosquitto_passwd` writes it.
//!
//! A line is `name:hash`. The hash is `$7$iterations$salt$hash` (PBKDF2 with SHA-512, salt and hash in base64), which
//! Mosquitto writes up to 2.0, or a PHC string `$argon2id$…`, which it writes since.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqtt5::broker::auth::PasswordAuthProvider;
use ring::pbkdf2;

use super::secret_file::read;

/// Names and hashes. Cheap to clone.
#[derive(Clone, PartialEq)]
pub(crate) struct Passwords(Arc<HashMap<String, Hash>>);

#[derive(PartialEq)]
enum Hash {
    Pbkdf2 { iterations: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
    Argon2(String),
}

impl Passwords {
    /// Reads a file; what is wrong in it is named by its line, and never shown.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let key = "mqtt.passwordFile";
        let text = String::from_utf8(read(key, file)?).map_err(|_| {
            format!("{key} = \"{}\": not text; make it with mosquitto_passwd", file.display())
        })?;
        Self::parse(&text).map_err(|(line, why)| {
            format!(
                "{key} = \"{}\", line {line}: {why}; write it with mosquitto_passwd",
                file.display()
            )
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut users = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why| (index + 1, why);
            let (name, hash) =
                line.split_once(':').ok_or_else(|| wrong("no colon after the name"))?;
            if name.is_empty() {
                return Err(wrong("no name"));
            }
            let hash =
                Hash::parse(hash).ok_or_else(|| wrong("neither a $7$ nor an $argon2 hash"))?;
            users.insert(name.to_owned(), hash);
        }
        if users.is_empty() {
            return Err((1, "nobody is named"));
        }
        Ok(Self(Arc::new(users)))
    }

    /// Whether it is the password of `name`. Takes as long for a name that there is not, so that names cannot be guessed
    /// by time.
    pub(super) fn hold(&self, name: &str, password: &[u8]) -> bool {
        match self.0.get(name) {
            Some(hash) => hash.of(password),
            None => {
                let _ = self.0.values().next().is_some_and(|hash| hash.of(password));
                false
            }
        }
    }
}

impl Hash {
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with("$argon2") {
            return Some(Self::Argon2(text.into()));
        }
        let mut parts = text.strip_prefix("$7$")?.split('$');
        let iterations = parts.next()?.parse().ok()?;
        let salt = STANDARD.decode(parts.next()?).ok()?;
        let hash = STANDARD.decode(parts.next()?).ok()?;
        (parts.next().is_none() && !hash.is_empty()).then_some(Self::Pbkdf2 {
            iterations,
            salt,
            hash,
        })
    }

    fn of(&self, password: &[u8]) -> bool {
        match self {
            Self::Pbkdf2 { iterations, salt, hash } => {
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
                pbkdf2::verify(algorithm, *iterations, salt, password, hash).is_ok()
            }
            Self::Argon2(text) => std::str::from_utf8(password)
                .is_ok_and(|password| PasswordAuthProvider::verify_password(password, text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_hashes_are_checked() {
        let argon2 = PasswordAuthProvider::hash_password("pear").unwrap();
        // Python: hashlib.pbkdf2_hmac("sha512", b"apple", b"saltsaltsalt", 101)
        let pbkdf2 = "$7$101$c2FsdHNhbHRzYWx0$ksdkdPSdKQB5Miwr26n2uOQVjEB6vNSjIGY/bP5EN+q5odcHnNcrdoaCros6t5P4o6tMADxgbUxkVZu/yFizqg==";
        let passwords =
            Passwords::parse(&format!("# apps\n\nann:{pbkdf2}\nbob:{argon2}\n")).unwrap();
        assert!(passwords.hold("ann", b"apple") && passwords.hold("bob", b"pear"));
        for (name, password) in [("ann", "pear"), ("bob", "apple"), ("ann", ""), ("eve", "apple")] {
            assert!(!passwords.hold(name, password.as_bytes()), "{name}: {password}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_and_not_shown() {
        for (text, line, why) in [
            ("ann:secret", 1, "neither"),
            ("# x\nann secret", 2, "no colon"),
            (":$7$101$YQ==$YQ==", 1, "no name"),
            ("ann:$7$0$YQ==$YQ==", 1, "neither"),
            ("ann:$7$101$YQ==$", 1, "neither"),
            ("", 1, "nobody"),
        ] {
            let Err((at, said)) = Passwords::parse(text) else { panic!("{text}") };
            assert_eq!(at, line, "{text}");
            assert!(said.contains(why) && !said.contains("secret"), "{text}: {said}");
        }
    }
}
