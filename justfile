# Every recipe is one line over cargo; CI needs none of them (.ci/run).

default:
    @just --list

# Build all four binaries.
build:
    cargo build --release --workspace

# Every test that needs nothing but Rust.
test *ARGS:
    cargo test --workspace {{ARGS}}

# No warnings.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Format.
fmt:
    cargo fmt --all

# What may be linked (needs cargo-deny).
deny:
    cargo deny check

# A whole cluster in one process.
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# The lock-free parts of the index, through the orders of events that loom finds.
models:
    cargo test -p longbow-index --features loom --lib models

# The kernels, with this machine's registers, under AddressSanitizer (needs nightly).
asan:
    tests/sanitizers/run asan

# The stress test under ThreadSanitizer (needs nightly): `LONGBOW_STRESS_SECONDS=600 just tsan`.
tsan:
    tests/sanitizers/run tsan

# Small tests of the index under Miri (needs nightly with it).
miri:
    tests/sanitizers/run miri

# Measure what an issue asks for: `just bar slice`.
bar SLUG *ARGS:
    cargo run --release -p longbow-bars --features peers -- {{SLUG}} {{ARGS}}

# Suites that need foreign tools (Python, Helm, promtool): `just suites helm flight`.
suites *NAMES:
    cargo build --release -p longbow && tests/foreign/run target/release/longbow {{NAMES}}

# All that CI does.
ci:
    .ci/run
