//! An HTTP proxy between the job and everything it calls.

use std::{
    io::{BufRead as _, BufReader, Read, Write, copy},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::support::shop::Shop;

const MANIFEST: &str = "identities: [{serviceAccount: app, bindServices: [api], role: {}}]";

/// A proxy that tunnels wherever it is asked to.
struct Proxy {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || tunnel(client, &seen));
            }
        });
        Self { address, requests }
    }

    /// The heads of the requests since the last time.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn tunnel(client: TcpStream, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let target = head.split(' ').nth(1).unwrap().to_owned();
    seen.lock().unwrap().push(head);
    let Ok(server) = TcpStream::connect(target) else { return };
    let mut answer = client;
    answer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let both = (server.try_clone().unwrap(), answer);
    std::thread::spawn(move || relay(both.0, both.1));
    relay(reader, server);
}

fn relay(mut from: impl Read, mut to: TcpStream) {
    let _ = copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// Whether a proxy was asked for AWS, Qovery and Kubernetes.
fn asked_for(requests: &[String], shop: &Shop) -> [bool; 3] {
    let sandbox = &shop.environment.sandbox;
    [sandbox.aws_url(), sandbox.qovery_url(), sandbox.kubernetes_url()].map(|url| {
        let target = url.strip_prefix("https://").unwrap();
        requests.iter().any(|request| request.starts_with(&format!("CONNECT {target} ")))
    })
}

#[test]
fn the_proxy_of_the_environment_is_used_for_everything_but_what_no_proxy_names() {
    let mut shop = Shop::new(MANIFEST);
    let kubeconfig = shop.environment.variables["KUBECONFIG"].clone();
    let proxy = Proxy::start();
    shop.environment.set("HTTPS_PROXY", &format!("http://job:pass%40word@{}", proxy.address));
    for kubeconfig in [Some(kubeconfig), None] {
        match &kubeconfig {
            Some(kubeconfig) => shop.environment.set("KUBECONFIG", kubeconfig),
            None => shop.environment.unset("KUBECONFIG"),
        }
        shop.environment.unset("NO_PROXY");
        shop.environment.start();
        let requests = proxy.requests();
        assert_eq!(asked_for(&requests, &shop), [true; 3], "{kubeconfig:?}: {requests:?}");
        let authorized =
            |request: &String| request.lines().any(|line| line.eq_ignore_ascii_case("proxy-authorization: Basic am9iOnBhc3NAd29yZA=="));
        assert!(requests.iter().all(authorized), "{kubeconfig:?}: {requests:?}");
        shop.environment.set("NO_PROXY", "example.com,127.0.0.0/8,localhost");
        shop.environment.start();
        assert!(proxy.requests().is_empty(), "{kubeconfig:?}");
    }
}

/// An environment whose kubeconfig states this proxy for its cluster.
fn stating(proxy: &str) -> Shop {
    let shop = Shop::new(MANIFEST);
    let path = &shop.environment.variables["KUBECONFIG"];
    let mut kubeconfig: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    kubeconfig["clusters"][0]["cluster"]["proxy-url"] = json!(proxy);
    std::fs::write(path, kubeconfig.to_string()).unwrap();
    shop
}

#[test]
fn the_proxy_of_a_kubeconfig_is_for_its_cluster_alone_and_is_used_whatever_the_environment_says() {
    let proxy = Proxy::start();
    let mut shop = stating(&format!("http://{}", proxy.address));
    shop.environment.set("NO_PROXY", "*");
    shop.environment.start();
    assert_eq!(asked_for(&proxy.requests(), &shop), [false, false, true]);
}

#[test]
fn a_proxy_that_cannot_be_used_is_an_error_that_does_not_show_its_password() {
    let refused = |shop: &mut Shop, code, said: &str| {
        shop.environment.set("IRSA_TIMEOUT", "10s");
        let run = shop.environment.run(&["start"]).ended(code);
        assert!(run.err.contains(said), "{}", run.err);
        assert!(!run.err.contains("pass%40word") && !run.err.contains("pass@word"), "{}", run.err);
    };
    for (scheme, code, of_kubernetes, of_aws) in [
        ("socks5", 2, "error: the URL of the proxy for the API server does not begin with `http://`", "unsupported scheme socks5"),
        ("https", 2, "error: the URL of the proxy for the API server does not begin with `http://`", "tunnel error"),
        ("http", 1, "tunnel error", "tunnel error"),
    ] {
        let url = format!("{scheme}://job:pass%40word@127.0.0.1:1");
        let mut shop = stating(&url);
        refused(&mut shop, code, of_kubernetes);
        shop.environment.unset("KUBECONFIG");
        shop.environment.set("HTTPS_PROXY", &url);
        refused(&mut shop, 1, of_aws);
    }
}

#[test]
fn an_empty_entry_of_no_proxy_is_named_beside_a_kubeconfig_and_means_nothing_without_one() {
    let mut shop = Shop::new(MANIFEST);
    let proxy = Proxy::start();
    shop.environment.set("HTTPS_PROXY", &format!("http://{}", proxy.address));
    shop.environment.set("NO_PROXY", "localhost,");
    let run = shop.environment.run(&["start"]).ended(2);
    assert!(run.err.contains("an entry of `NO_PROXY` is empty or none"), "{}", run.err);
    assert_eq!(run.writes, 0);
    shop.environment.unset("KUBECONFIG");
    shop.environment.start();
    assert_eq!(asked_for(&proxy.requests(), &shop), [true; 3]);
}
