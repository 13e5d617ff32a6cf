.PHONY: setup demo test test-live test-readers package bench audit fuzz

# Installs what building and testing need.
setup:
	@deploy/setup.sh

# Backs a throw-away PostgreSQL up and brings it back.
demo: setup
	@deploy/cache.sh fetch || echo "cache: nothing is taken from it"
	@fixtures/demo.sh

# Every check and every test.
test: setup
	cargo fmt --all --check
	deploy/cache.sh fetch || echo "cache: nothing is taken from it"
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked --quiet
	deploy/check-dependencies.sh
	deploy/check-words.py
	cargo build --workspace --bins --locked
	cargo nextest run --workspace --locked --no-run
	deploy/cache.sh keep || echo "cache: nothing is kept"
	deploy/run-tests.sh

# Tests against S3 servers that are not Amazon's; installs them below target/live, which takes a while the first time.
test-live: setup
	deploy/setup-live.sh
	cargo build --workspace --bins --locked
	cargo nextest run --workspace --locked --run-ignored only --filterset 'binary(live)' --test-threads 1

# Readers of bundles that people have; installs them, some below target/readers. It prints the table of docs/bundle-format.md.
test-readers: setup
	deploy/setup-readers.sh
	cargo build --workspace --bins --locked
	cargo nextest run --workspace --locked --run-ignored all --filterset 'test(/^readers::/)' --no-capture

# The Debian package, below target/package.
package: setup
	cargo build --release --locked --package orchestrator-cli
	deploy/package/build.sh target/release/orchestrator-cli target/package deb

# Ratios of other ways to dump a database to ours.
bench: setup
	deploy/setup-bench.sh
	cargo build --release --locked --package orchestrator-cli --package fixtures --package system-tests
	fixtures/bench.sh
	fixtures/bench-restore.sh
	fixtures/bench-stores.sh
	fixtures/bench-many.sh

# Each fuzz target for an hour, or for FUZZ_SECONDS; it needs a nightly Rust.
FUZZ_SECONDS ?= 3600
fuzz:
	backup-core/fuzz/run.sh $(FUZZ_SECONDS)

# Licences, advisories and needless dependencies; it fetches the list of advisories.
audit:
	@command -v cargo-deny cargo-machete >/dev/null || { echo "missing: cargo install --locked cargo-deny cargo-machete" >&2; exit 1; }
	cargo deny check
	cargo machete
