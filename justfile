# The commands of everyday work. `just ci` is what a change has to pass.

# List the recipes.
default:
    @just --list --unsorted

# Format and lints, as CI checks them.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Unit, integration and conformance tests: needs nothing but the Rust toolchain.
test *arguments:
    cargo test --workspace --locked {{ arguments }}

# Each fuzz target for some time, optimized; `just test` gives them a few seconds. tests/fuzz/src/lib.rs says more.
fuzz seconds="300":
    CARGO_PROFILE_DEV_OPT_LEVEL=1 MOSSO_FUZZ_SECONDS={{ seconds }} cargo test --workspace --locked fuzz -- --nocapture

# Seeds of the simulation of faults, beyond those of `just test`. tests/e2e/simulation.rs says more.
simulate seeds="1000":
    MOSSO_SIM_SEEDS={{ seeds }} cargo test --locked --test e2e simulation -- --nocapture

# The real binary against real clients; installs its tools under target/.
e2e *arguments:
    cargo build --locked --package mosso --package conformance
    python3 e2e/run.py --mosso "${CARGO_TARGET_DIR:-target}/debug/mosso" {{ arguments }}

# Measure the hot paths; benches/README.md says what each figure means.
bench *arguments:
    cargo bench --package benches --locked {{ arguments }}

# Build and start mosso with its data under ./data.
run *arguments:
    cargo run --release --locked --bin mosso -- {{ arguments }}

# All of it, in CI's order.
ci:
    .ci/run
