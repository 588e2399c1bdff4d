//! Which HTTP proxy stands between the job and the API server.
//!
//! kube takes `NO_PROXY` for what the proxy is called, not for what the API server is. Here the environment's variables mean to
//! Kubernetes what they mean to AWS and Qovery.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use kube::config::Kubeconfig;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The proxy that `HTTPS_PROXY` and its like name for this server, with user and password in its URL; none if `NO_PROXY` names the server.
pub(super) fn of_environment(server: &Uri) -> Option<Uri> {
    of(&Matcher::from_env(), server)
}

fn of(rules: &Matcher, server: &Uri) -> Option<Uri> {
    let proxy = rules.intercept(server)?;
    let (scheme, authority) = (proxy.uri().scheme_str()?, proxy.uri().authority()?);
    let user = proxy.basic_auth().and_then(user).map_or_else(String::new, |user| format!("{user}@"));
    format!("{scheme}://{user}{authority}").parse().ok()
}

/// User and password as a URL has them.
fn user(basic: &HeaderValue) -> Option<String> {
    let plain = String::from_utf8(STANDARD.decode(basic.to_str().ok()?.strip_prefix("Basic ")?).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some(format!("{}:{}", utf8_percent_encode(user, NON_ALPHANUMERIC), utf8_percent_encode(password, NON_ALPHANUMERIC)))
}

/// What the user and password in the URL of a proxy are as a header.
pub(super) fn authorization(proxy: &Uri) -> Option<HeaderValue> {
    let (user, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let plain: Vec<u8> = percent_decode_str(user).collect();
    HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain))).ok()
}

/// The proxy that a kubeconfig states for the cluster of its current context.
pub(super) fn stated(kubeconfig: &Kubeconfig) -> Option<String> {
    let named = kubeconfig.contexts.iter().find(|named| Some(&named.name) == kubeconfig.current_context.as_ref())?;
    let cluster = &named.context.as_ref()?.cluster;
    let named = kubeconfig.clusters.iter().find(|named| named.name == *cluster)?;
    named.cluster.as_ref()?.proxy_url.clone().filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_for_servers_that_are_not_excepted_and_keeps_user_and_password() {
        let rules = |proxy: &str| Matcher::builder().https(proxy.to_owned()).no("10.0.0.0/8,.internal,kubernetes.default.svc").build();
        let server = |host: &str| format!("https://{host}/").parse::<Uri>().unwrap();
        let outside = server("a1.gr7.eu-west-3.eks.amazonaws.com");
        for (proxy, expected) in [
            ("http://proxy:3128", "http://proxy:3128/"),
            ("proxy:3128", "http://proxy:3128/"),
            ("https://job:pa%40ss%3Aword@proxy/", "https://job:pa%40ss%3Aword@proxy/"),
            ("http://job@proxy", "http://job:@proxy/"),
            ("socks5://proxy:1080", "socks5://proxy:1080/"),
        ] {
            assert_eq!(of(&rules(proxy), &outside).map(|url| url.to_string()), Some(expected.to_owned()));
        }
        for excepted in ["10.1.2.3", "api.internal", "kubernetes.default.svc"] {
            assert_eq!(of(&rules("http://proxy"), &server(excepted)), None, "{excepted}");
        }
        assert_eq!(of(&Matcher::builder().build(), &outside), None);
    }

    #[test]
    fn a_proxy_gets_user_and_password_as_they_are_meant() {
        let plain = |proxy: &str| {
            let header = authorization(&proxy.parse().unwrap())?;
            Some(String::from_utf8(STANDARD.decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap()).unwrap())
        };
        assert_eq!(plain("http://job:pa%40ss%3Aword@proxy/").as_deref(), Some("job:pa@ss:word"));
        assert_eq!(plain("http://proxy:3128"), None);
    }
}
