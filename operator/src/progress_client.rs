//! The HTTP client that asks a worker how far it is.

/// Plain HTTP to a process or pod nearby: never through a proxy, which would be asked for
/// `127.0.0.1` and pod addresses that mean nothing to it, and never where a pod points to.
///
/// # Panics
/// Never: a client that trusts no certificate needs none of the machine's.
pub fn progress_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only([])
        .build()
        .expect("a client that trusts no certificate needs none of the machine's")
}
