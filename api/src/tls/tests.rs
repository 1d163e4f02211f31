use super::*;
use crate::testing::certificates::Authority;

fn config(authority: &Authority, dir: &std::path::Path) -> TlsConfig {
    let (certificate, key) = authority.write(dir, "server");
    TlsConfig {
        certificate: Pem::File(certificate),
        key: Pem::File(key),
        client_auth: ClientAuth::None,
        client_ca: None,
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        cipher_suites: Vec::new(),
        curves: Vec::new(),
        reload_interval: None,
    }
}

#[test]
fn new_files_are_taken_and_broken_ones_leave_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let config = config(&authority, dir.path());
    let tls = Tls::load(&config).unwrap();
    let before = tls.current.read().unwrap().server.clone();
    assert!(!tls.reload().unwrap(), "nothing has changed");
    let Pem::File(key) = &config.key else { unreachable!() };
    let good_key = std::fs::read(key).unwrap();
    std::fs::write(key, "half a key").unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("server.key has no private key"));
    // a certificate whose key is still to come
    authority.write(dir.path(), "server");
    std::fs::write(key, &good_key).unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("cannot be used"));
    assert!(Arc::ptr_eq(&before, &tls.current.read().unwrap().server));
    authority.write(dir.path(), "server");
    assert!(tls.reload().unwrap());
    assert!(!Arc::ptr_eq(&before, &tls.current.read().unwrap().server));
}

#[test]
fn what_cannot_be_used_is_named_and_shows_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let good = config(&Authority::new(), dir.path());
    let error = |config: TlsConfig| Tls::load(&config).err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(error(good.clone()), "");
    let text = |text: &str| Pem::Text(text.to_owned());
    for (config, wrong) in [
        (TlsConfig { certificate: Pem::File("/nowhere".into()), ..good.clone() }, "read /nowhere"),
        (TlsConfig { key: text("marker"), ..good.clone() }, "the PEM in the configuration has no private key"),
        (
            TlsConfig { client_ca: Some(text("marker")), client_auth: ClientAuth::Required, ..good.clone() },
            "has no certificate",
        ),
        (TlsConfig { cipher_suites: vec!["TLS_RSA_WITH_RC4_128_SHA".into()], ..good.clone() }, "RC4"),
        (TlsConfig { curves: vec!["P521".into()], ..good.clone() }, "P521"),
        (TlsConfig { min_version: TlsVersion::V1_3, max_version: TlsVersion::V1_2, ..good.clone() }, "1.3"),
    ] {
        let error = error(config.clone());
        assert!(error.contains(wrong) && !error.contains("marker"), "{error}");
        assert!(!format!("{config:?}").contains("marker"));
    }
    let narrow = TlsConfig {
        cipher_suites: vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".into()],
        curves: vec!["X25519".into()],
        ..good
    };
    assert_eq!(error(narrow), "");
}
