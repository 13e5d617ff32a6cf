.PHONY: setup demo test bench audit

# Installs what building and testing need.
setup:
	@deploy/setup.sh

# Backs a throw-away PostgreSQL up and brings it back.
demo: setup
	@fixtures/demo.sh

# Every check and every test.
test: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked --quiet
	deploy/check-dependencies.sh
	cargo test --workspace --locked

# Ratios of other ways to dump a database to ours.
bench: setup
	cargo build --release --locked --package orchestrator-cli
	fixtures/bench.sh
	fixtures/bench-restore.sh

# Licences, advisories and needless dependencies; it fetches the list of advisories.
audit:
	@command -v cargo-deny cargo-machete >/dev/null || { echo "missing: cargo install --locked cargo-deny cargo-machete" >&2; exit 1; }
	cargo deny check
	cargo machete
