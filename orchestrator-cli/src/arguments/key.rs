//! Arguments of `key`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Make a key. The file gets the identity, which reads bundles. The command prints the recipient, which encrypts them
    #[command(after_help = "Examples:\n  \
        orchestrator-cli key generate /root/orchestrator.key\n  \
        orchestrator-cli key generate --signing /etc/orchestrator/signing.key")]
    Generate {
        /// File for the secret; it must not exist
        file: PathBuf,
        /// Make a key of the kind ssh-ed25519, which signs bundles and records of drills. The command prints the public half
        #[arg(long)]
        signing: bool,
    },
}
