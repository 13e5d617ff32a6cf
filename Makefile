.PHONY: setup demo test bench

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
