//! How far an attempt to connect comes, as the driver's own calls show it: the driver keeps the kind of its errors to itself.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

/// How far the last attempt came that found somebody listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No address had anybody who listens.
    Nowhere,
    /// Somebody listens, and took our connection.
    Open,
    /// The server agreed to encrypt, and the handshake began.
    Encrypting,
}

/// A note of the stage. One attempt takes a host's addresses one after another, so later addresses overwrite it.
#[derive(Debug, Default)]
pub(super) struct Reached(AtomicU8);

impl Reached {
    pub(super) fn stage(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            0 => Stage::Nowhere,
            1 => Stage::Open,
            _ => Stage::Encrypting,
        }
    }

    fn note(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }
}

/// What makes TLS for the driver, and notes when the driver calls: once a socket is open, and once the server agreed to encrypt.
pub(super) struct Noted<'r, T> {
    tls: T,
    reached: &'r Reached,
}

impl<'r, T> Noted<'r, T> {
    pub(super) fn new(tls: T, reached: &'r Reached) -> Self {
        Self { tls, reached }
    }
}

impl<'r, S, T: MakeTlsConnect<S>> MakeTlsConnect<S> for Noted<'r, T> {
    type Stream = T::Stream;
    type TlsConnect = Noted<'r, T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        self.reached.note(Stage::Open);
        Ok(Noted { tls: self.tls.make_tls_connect(host)?, reached: self.reached })
    }
}

impl<S, T: TlsConnect<S>> TlsConnect<S> for Noted<'_, T> {
    type Stream = T::Stream;
    type Error = T::Error;
    type Future = T::Future;

    fn connect(self, stream: S) -> Self::Future {
        self.reached.note(Stage::Encrypting);
        self.tls.connect(stream)
    }
}
