//! TLS runs on ring, which needs no more than a C compiler.

/// Makes ring the provider of this process. The first provider of a process stays, and any will do.
pub(crate) fn choose() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
