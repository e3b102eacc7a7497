# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Needs make, sh and Go. `make` alone lists what there is.

PLUGIN := vault-plugin-secrets-cognito

# What `make build` makes. A dev server takes every file of its plugin directory for a plugin: nothing else may lie there.
OUT = bin/plugins/$(PLUGIN)
# The least age at which the WAL rolls a half-made user back; empty is the plugin's own. Tests build with 5s.
WAL_MIN_AGE =
# What the plugin tells Vault: the tag that is checked out, or the version that comes next.
VERSION := $(shell git describe --tags --exact-match --dirty 2>/dev/null | grep -Ex 'v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?' || echo v1.0.0-rc)
# The race detector needs a C compiler: on, off, or auto for on where there is one.
RACE = auto
# `make dev DEMO=1` gives everything back and ends.
DEMO =
# How long make fuzz tries each of its targets.
FUZZTIME = 10s
# How often make test-reliability lets something die, and the seed that repeats a run.
ROUNDS = 200
SEED =
# A directory that gets the CPU profiles of make bench.
PROFILES =
# More arguments for go test, like TESTFLAGS='-run TestLeases -v'.
TESTFLAGS =

# How many tests run at once: they wait for time-outs more than they compute.
PARALLEL := 12

GOLANGCI_LINT_VERSION := 2.15.0
GORELEASER_VERSION := 2.15.4

EMULATOR_BIN := $(CURDIR)/bin/cognito-emulator
PLUGIN_BIN := $(CURDIR)/bin/plugins/$(PLUGIN)
PLUGIN_FAST_WAL_BIN := $(CURDIR)/bin/plugins-fast-wal/$(PLUGIN)

# The version is in the ldflags: what Git knows would only relink every binary at every commit.
GO_BUILD = CGO_ENABLED=0 go build -trimpath -buildvcs=false
LDFLAGS = -s -w -X main.version=$(VERSION) $(if $(WAL_MIN_AGE),-X main.walMinAge=$(WAL_MIN_AGE))

# Tests that go through thousands of cases one by one. Under the race detector they would take ten minutes, and it would
# see nothing there that it does not see in the others.
SWEEPS := ^(Fuzz.*|TestFaults|TestEveryFieldOfEveryPath|TestHugeValues|TestManyItems|TestTemplateBombs|TestDamagedStorage|TestAnyAnswer|TestEndlessAnswer|TestPasswordsAre.*)$$

# Tests that start processes; all others need nothing but Go.
PROCESS_TESTS := ./internal/sandbox/... ./scripts/... ./test

.PHONY: help
help: ## List what make can do
	@echo 'Usage: make TARGET [VARIABLE=value …]'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Variables: OUT and WAL_MIN_AGE (build), DEMO=1 (dev), RACE=on|off and TESTFLAGS (tests), ROUNDS and SEED'
	@echo '  (test-reliability), FUZZTIME (fuzz), PROFILES (bench), VERSION, VAULT_BIN'

.PHONY: build
build: ## Build the plugin (OUT=path, WAL_MIN_AGE=5s)
	@echo '$(VERSION)' | grep -Eqx 'v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?' || \
		{ echo 'VERSION is "$(VERSION)"; Vault takes only one like v1.2.3 or v1.2.3-rc1' >&2; exit 1; }
	@echo 'Building the plugin $(VERSION)$(if $(WAL_MIN_AGE), with a WAL age of $(WAL_MIN_AGE)): $(OUT)'
	@$(GO_BUILD) -ldflags '$(LDFLAGS)' -o '$(OUT)' ./cmd/$(PLUGIN)

.PHONY: emulator
emulator: ## Build the Cognito emulator
	@echo 'Building the emulator: bin/cognito-emulator'
	@$(GO_BUILD) -ldflags '-s -w' -o '$(EMULATOR_BIN)' ./cmd/cognito-emulator

.PHONY: dev
dev: build emulator ## Start Vault with the plugin on an emulated Cognito (DEMO=1: show it and end)
	@go build -o bin/dev ./scripts/dev
	@vault=$$(scripts/server.sh) && \
		exec bin/dev -vault "$$vault" -plugin '$(OUT)' -emulator '$(EMULATOR_BIN)' -log bin/dev.log $(if $(filter-out 0 no false,$(DEMO)),-demo)

# counting NAME is a shell function: it runs a target and prints what its reliability tests tried and lost. Each run
# has a file of its own, so that no cached result of go test stands for it.
COUNTING = counting() { \
		counters=$$(mktemp) && status=0 && export COUNTERS_FILE=$$counters; \
		$(MAKE) --no-print-directory --keep-going "$$@" || status=1; \
		echo && go run ./scripts/counters <$$counters || status=1; \
		rm -f $$counters; return $$status; \
	}

.PHONY: test
test: ## Run all tests: unit, emulator, and end to end with a real Vault
	@$(COUNTING) && counting test-unit test-e2e

.PHONY: test-reliability
test-reliability: ## The long run: every fault, ROUNDS deaths, thousands of leases, moto (SEED=number to repeat one)
	@export RELIABILITY=long RELIABILITY_ROUNDS=$(ROUNDS) RELIABILITY_SEED='$(SEED)' && \
		$(COUNTING) && counting test-unit test-e2e test-moto RACE=off

.PHONY: test-unit
test-unit: ## Run the tests that need nothing but Go
	@race=$$(scripts/race-flag.sh $(RACE)) && all=$$(go list ./...) && \
		packages=$$(echo "$$all" | grep -v -e /internal/sandbox -e /scripts/ -e '/test$$') && set -x && \
		go test $$race -parallel $(PARALLEL) -timeout 30m -skip '$(SWEEPS)' $(TESTFLAGS) $$packages
	$(if $(findstring -run,$(TESTFLAGS)),,go test -parallel $(PARALLEL) -timeout 30m -run '$(SWEEPS)' $(TESTFLAGS) ./backend ./internal/cognito)

.PHONY: test-e2e
test-e2e: test-binaries terraform-tools ## Run the tests that start a real Vault with the built plugin
	@race=$$(scripts/race-flag.sh $(RACE)) && VAULT_BIN=$$(scripts/server.sh) && export VAULT_BIN && \
		export PLUGIN_BIN='$(PLUGIN_BIN)' PLUGIN_FAST_WAL_BIN='$(PLUGIN_FAST_WAL_BIN)' EMULATOR_BIN='$(EMULATOR_BIN)' && \
		export TOFU_BIN='$(CURDIR)/bin/terraform/tofu' && \
		set -x && go test $$race -parallel $(PARALLEL) -count=1 -timeout 80m $(TESTFLAGS) $(PROCESS_TESTS)

.PHONY: test-moto
test-moto: test-binaries ## Run what moto, another Cognito, can judge (needs Python 3.10 with venv)
	@MOTO_SERVER=$$(scripts/moto.sh) && VAULT_BIN=$$(scripts/server.sh) && export MOTO_SERVER VAULT_BIN && \
		export PLUGIN_BIN='$(PLUGIN_BIN)' PLUGIN_FAST_WAL_BIN='$(PLUGIN_FAST_WAL_BIN)' && \
		set -x && go test -parallel $(PARALLEL) -count=1 -timeout 10m $(TESTFLAGS) -run Moto ./internal/sandbox ./test

# The tests look for the provider beside OpenTofu.
.PHONY: terraform-tools
terraform-tools:
	@scripts/terraform-tools.sh

# go test must not see another OUT or WAL_MIN_AGE than the names of these binaries say.
.PHONY: test-binaries
test-binaries: emulator
	@$(MAKE) --no-print-directory build OUT='$(PLUGIN_BIN)' WAL_MIN_AGE=
	@$(MAKE) --no-print-directory build OUT='$(PLUGIN_FAST_WAL_BIN)' WAL_MIN_AGE=5s

.PHONY: fuzz
fuzz: ## Look for inputs that break something (FUZZTIME=10s for each of the targets)
	@for package in ./backend ./internal/cognito; do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z]*' $$package/*_test.go | cut -d' ' -f2); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$package || exit 1; \
		done; \
	done

.PHONY: bench
bench: build emulator ## Measure how fast it is, against what a plugin costs at least; writes docs/performance.md
	@vault=$$(scripts/server.sh) && go build -o bin/bench ./test/bench && \
		bin/bench -vault "$$vault" -plugin '$(OUT)' -emulator '$(EMULATOR_BIN)' -out docs/performance.md $(if $(PROFILES),-profiles '$(PROFILES)')

.PHONY: vet
vet: ## Run go vet, and see that what depends on the system compiles on macOS too
	go vet ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go vet ./cmd/... ./internal/sandbox ./scripts/...

.PHONY: lint
lint: golangci-lint ## Run golangci-lint, which is built once into bin/
	bin/golangci-lint run ./...

.PHONY: fmt
fmt: golangci-lint ## Format all Go files and sort their imports
	bin/golangci-lint fmt ./...

.PHONY: golangci-lint
golangci-lint:
	@[ "$$(bin/golangci-lint version --short 2>/dev/null)" = '$(GOLANGCI_LINT_VERSION)' ] || { \
		echo 'Building golangci-lint $(GOLANGCI_LINT_VERSION) into bin/. This takes a minute or two, once.' && \
		GOBIN='$(CURDIR)/bin' go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_LINT_VERSION); }

.PHONY: check
check: ## Check that formatted and generated files and go.mod are as the tools leave them
	@scripts/check.sh

.PHONY: dist
dist: goreleaser ## Build what a release holds into dist/, without publishing it
	@scripts/dist.sh '$(VERSION)'

.PHONY: release
release: goreleaser ## Publish the tag that is checked out (CircleCI does; needs GITHUB_TOKEN)
	VERSION='$(VERSION)' PATH="$(CURDIR)/bin:$$PATH" bin/goreleaser release --clean

.PHONY: goreleaser
goreleaser:
	@go build -C scripts/sbom -o ../../bin/sbom .
	@[ "$$(bin/goreleaser --version 2>/dev/null | sed -n 's/^GitVersion: *v*//p')" = '$(GORELEASER_VERSION)' ] || { \
		echo 'Building GoReleaser $(GORELEASER_VERSION) into bin/. This takes some minutes, once.' && \
		CGO_ENABLED=0 GOBIN='$(CURDIR)/bin' go install github.com/goreleaser/goreleaser/v2@v$(GORELEASER_VERSION); }

.PHONY: clean
clean: ## Remove what was built, but for bin/vault and the tools, which take minutes
	rm -rf dist bin/bench bin/dev bin/dev.log bin/plugins bin/plugins-fast-wal '$(EMULATOR_BIN)' coverage.out
