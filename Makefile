# Two commands do all: `make demo` and `make test`. The rest is for those who change the code.

CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto
CI_TOOLS := cluster-tests/setup.sh

.PHONY: demo test simulate check fix bench soak sabotage fuzz deny build tools package static

# A pair and a witness on this machine, ready to send and read mail.
demo: ## ports: base + (n-1)*1000 + standard port, base 10000
	$(CARGO) build --release --bin pollux
	$${CARGO_TARGET_DIR:-./target}/release/pollux demo $(DEMO_ARGS)

build:
	$(CARGO) build --release

# target/debian/pollux_*.deb, for this kind of machine.
package:
	sh deploy/package.sh

# One static binary for each kind of machine that NAS boxes are; what else it needs is said by deploy/static.sh.
static:
	sh deploy/static.sh

# Installs what the tests need beside Rust, gcc and Python (nftables, iproute2, cargo-nextest).
tools:
	sh $(CI_TOOLS)

# Everything that can be proved in minutes: units, transcripts, properties, stories on real processes. Its seeds are
# fixed: a gate that fails by chance says nothing of the change. Fresh ones are `make simulate`s. One test more than there
# are cores runs at a time: the simulation has what the others leave.
test: tools
	$(CARGO) build --workspace --all-targets
	$(CARGO) test --workspace --doc --quiet
	sh cluster-tests/released.sh >/dev/null || [ $$? = 3 ]
	TMPDIR=$$(sh cluster-tests/scratch.sh) POLLUX_SIM_COUNT=1000 $(CARGO) nextest run --workspace --no-fail-fast --test-threads $$(($$(nproc) + 1))

# Whole clusters in simulated time (src/cluster/tests/sim): SCHEDULES fixed seeds and FRESH ones that nobody has tried.
# OPT_LEVEL=1 makes each quicker; its build costs minutes, so that it pays for many thousands alone. Here openraft looks
# over its own state at each step as well.
simulate: SCHEDULES ?= 1000
simulate: FRESH ?= 50
simulate: OPT_LEVEL ?= 0
simulate:
	CARGO_PROFILE_DEV_OPT_LEVEL=$(OPT_LEVEL) POLLUX_SIM_COUNT=$(SCHEDULES) POLLUX_SIM_FRESH=$(FRESH) \
	  $(CARGO) nextest run --config profile.dev.package.validit.debug-assertions=true -p pollux --lib --no-capture \
	  -E 'test(=cluster::tests::sim::schedules)'

# The read-only gate; `make fix` mends what can be mended.
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

fix:
	$(CARGO) fmt --all
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged -- -D warnings

# HOURS=n: random faults for that long, each history judged, figures at the end. FLAT_MINUTES=n: steady traffic for
# that long, under which memory and disk must stay flat. SCHEDULES=n: so many simulated schedules, none tried before.
# Without any of these the stories, again and again: ROUNDS=20 by
# default, STORIES='binary(/leader/)' for some of them (a filter of nextest).
ROUNDS ?= 20
soak: tools
	$(CARGO) build --workspace --all-targets
ifdef HOURS
	$${CARGO_TARGET_DIR:-target}/debug/soak $(HOURS)
else ifdef FLAT_MINUTES
	POLLUX_FLAT_MINUTES=$(FLAT_MINUTES) $(CARGO) nextest run --workspace --test steady_traffic_stays_flat --no-capture
else ifdef SCHEDULES
	$(MAKE) simulate SCHEDULES=0 FRESH=$(SCHEDULES) OPT_LEVEL=1
else
	$(if $(STORIES),,POLLUX_CRASH_EFFORT=20 $(CARGO) nextest run --workspace --test store_crash)
	for round in $$(seq 1 $(ROUNDS)); do echo "round $$round of $(ROUNDS)"; \
	  $(CARGO) nextest run --workspace --no-fail-fast -E 'package(cluster-tests)$(if $(STORIES), & ($(STORIES)))' || exit 1; done
endif

# Proof that the stories bite: each patch in cluster-tests/sabotage breaks a copy of the tree, and must be reported. NAMES="..." for some.
sabotage: tools
	sh cluster-tests/sabotage/run.sh $(NAMES)

# What this server and Dovecot say of the same mail, ENVELOPE and BODYSTRUCTURE as trees; docs/imap-beside-dovecot.md.
.PHONY: compare
compare:
	$(CARGO) build --bin pollux
	python3 cluster-tests/compare/beside_dovecot.py

# Hostile bytes for every decoder and protocol machine, SECONDS of each target: 60 by default; TARGETS="imap smtp" for some.
# KEEP=1 keeps what was learnt in cluster-tests/fuzz/corpus, which `make test` replays.
SECONDS ?= 60
fuzz:
	SECONDS_EACH=$(SECONDS) sh cluster-tests/fuzz/run.sh

# Ours beside Postfix + Dovecot, in one run on this machine; writes docs/benchmarks.md.
bench:
	$(CARGO) build --release --bin pollux
	$(CARGO) build --release -p cluster-tests --bin strangers
	sh cluster-tests/bench/run.sh $(BENCH_ARGS)

# Licences, bans and sources; advisories where their database can be had.
deny:
	command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny check licenses bans sources
	$(CARGO) deny check advisories || echo "advisories: not checked (their database cannot be had here)"
