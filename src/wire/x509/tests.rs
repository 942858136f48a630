use super::*;

/// A certificate with everything that is read.
fn full() -> Vec<u8> {
    let mut params = rcgen::CertificateParams::new(vec!["dakr.example.com".to_owned()]).expect("names");
    params.subject_alt_names.push(rcgen::SanType::IpAddress([10, 0, 0, 1].into()));
    params.distinguished_name.push(rcgen::DnType::CommonName, "DAKR");
    params.not_before = rcgen::date_time_ymd(2024, 2, 29);
    params.not_after = rcgen::date_time_ymd(2060, 12, 31);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let key = rcgen::KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").der().to_vec()
}

#[test]
fn f9_a_certificate_says_whose_it_is_and_until_when() {
    let read = Certificate::read(&full()).expect("a certificate");
    assert_eq!((read.version, read.subject.as_str(), read.issuer.as_str()), (3, "DAKR", "DAKR"));
    assert_eq!(read.names, ["dakr.example.com", "10.0.0.1"]);
    assert_eq!((read.not_before_s, read.not_after_s), (1_709_164_800, 2_871_676_800));
    assert!(read.is_self_issued && !read.is_for_servers && !read.is_p521);
}

#[test]
fn a_certificate_that_is_cut_or_changed_is_refused_or_read() {
    let whole = full();
    for length in 0..whole.len() {
        assert_eq!(Certificate::read(&whole[..length]), Err(Malformed), "{length}");
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            let _ = Certificate::read(&changed);
        }
    }
}
