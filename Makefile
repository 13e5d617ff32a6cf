.PHONY: setup demo test

setup:
	@deploy/setup.sh

test: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	cargo test --workspace --locked
