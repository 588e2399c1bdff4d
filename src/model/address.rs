//! Where a bearer token may be sent: whoever reads it on the way has it, so it goes over TLS, or does not leave the machine.

use std::net::IpAddr;

/// Whether a token may be sent to an address of this scheme and host: by `https`, or by `http` to a loopback address.
#[must_use]
pub fn may_get_a_token(scheme: Option<&str>, host: Option<&str>) -> bool {
    match scheme {
        Some("https") => true,
        Some("http") => host.is_some_and(is_loopback),
        _ => false,
    }
}

/// Whether a host, as a URL has it, is this machine and no other. A name that some resolver may answer for is not.
fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_tls_or_stays_on_the_machine() {
        for (address, may) in [
            ("https://api.example.com", true),
            ("https://10.0.0.1", true),
            ("http://127.0.0.1", true),
            ("http://127.8.8.8", true),
            ("http://[::1]", true),
            ("http://localhost", true),
            ("http://LOCALHOST", true),
            ("http://10.0.0.1", false),
            ("http://api.example.com", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://127.1", false),
            ("http://0.0.0.0", false),
            ("http://[::ffff:10.0.0.1]", false),
            ("http://169.254.170.23", false),
            ("ftp://127.0.0.1", false),
        ] {
            let (scheme, host) = address.split_once("://").unwrap();
            assert_eq!(may_get_a_token(Some(scheme), Some(host)), may, "{address}");
        }
        assert!(!may_get_a_token(None, Some("127.0.0.1")) && !may_get_a_token(Some("http"), None));
    }
}
