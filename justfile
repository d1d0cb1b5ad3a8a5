# Every routine of this project. `just` lists them.

_list:
    @just --list --unsorted

# What must hold before a commit, quickest first
check: fmt lint test doc

# Formatting, as rustfmt.toml says
fmt:
    cargo fmt --all --check

# Lints of all targets; warnings are errors
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# All tests: units, properties, real processes, end to end
test *ARGS="--workspace":
    cargo test --locked {{ ARGS }}

# The documentation of all crates
doc:
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked

# The book, into target/book; warnings are errors (needs mdbook)
book:
    docs/build.sh target/book

# What the documents link to, and the page of settings written anew from the program's definitions
docs:
    WRITE_REFERENCE=1 cargo test --locked --package cargo-plimsoll --test docs

# The README's picture: builds `native` three times and draws it (needs python3; do nothing else meanwhile)
picture:
    cargo build --release --workspace
    PATH="$PWD/target/release:$PATH" bench/picture.py measure

# Whether it compiles for the other systems that the README names (needs the compiler's sources: rustup's or Debian's)
systems:
    crates/cargo-plimsoll/tests/systems.sh target/systems

# All of the above and the README's commands, from nothing: what a machine runs for every change
ci:
    .ci/run

# Licences, advisories and sources of dependencies (needs cargo-deny)
deny:
    cargo deny check

# The protocol's decoder on random bytes for a while (needs a C++ compiler)
fuzz seconds="60":
    fuzz/run.sh -max_total_time={{ seconds }}

# The benchmark's whole way through, on a tiny workload; no root needed
smoke:
    cargo build --workspace
    cargo run --package plimsoll-bench -- smoke

# Small builds under faults drawn from a seed; `--seed S --only K` does one again
torture *ARGS:
    cargo build --workspace
    cargo torture {{ ARGS }}

# The benchmark, in release form; bench/README.md says what shows what
bench *ARGS:
    cargo build --release --workspace
    cargo run --release --package plimsoll-bench -- {{ ARGS }}

# Puts `cargo plimsoll` where Cargo finds it
install:
    cargo install --locked --path crates/cargo-plimsoll
