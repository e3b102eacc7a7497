# Copyright (c) The vault-plugin-secrets-cognito authors
# SPDX-License-Identifier: MPL-2.0
#
# Needs make, sh and Go. `make` alone lists the targets.

PLUGIN := vault-plugin-secrets-cognito

# The plugin that `make build` builds. A dev server registers every file in its directory as a plugin, so nothing else may
# be there.
OUT = bin/plugins/$(PLUGIN)
# The minimum age for a roll-back of an unfinished user; empty is the default. Tests build with 5s.
WAL_MIN_AGE =
# The version that the plugin reports: the tag that is checked out, or the next version.
VERSION := $(shell git describe --tags --exact-match --dirty 2>/dev/null | grep -Ex 'v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?' || echo v1.0.0-rc)
# The time of everything in an OCI image, so that every build of a commit gives the same bytes.
COMMIT_TIME = $(shell git show -s --format=%ct HEAD 2>/dev/null || echo 0)
# The race detector needs a C compiler: on, off, or auto, which is on if there is one.
RACE = auto
# `make dev DEMO=1` revokes the lease, shows that the user is deleted, and ends.
DEMO ?=
# The port of the server of `make dev`, such as 8200; the emulator listens on PORT+2. Empty: free ports.
PORT ?=
# What the issuer of JWTs begins with in `make dev`: local for the emulator's address, or a URL. Empty: as in real tokens.
ISSUER ?=
# How long make fuzz runs each of its targets.
FUZZTIME = 10s
# How often make test-reliability ends something in the middle of work, and the seed that repeats a run.
ROUNDS = 200
SEED =
# How many random histories make test-model runs of each subject.
HISTORIES = 10000
# A directory that gets the CPU profiles of make bench.
PROFILES =
# More arguments for go test, like TESTFLAGS='-run TestLeases -v'.
TESTFLAGS =

# How many tests run at once: they wait more than they compute.
PARALLEL := 12

GOLANGCI_LINT_VERSION := 2.15.0
GORELEASER_VERSION := 2.15.4
ACTIONLINT_VERSION := 1.7.12

EMULATOR_BIN := $(CURDIR)/bin/cognito-emulator
PLUGIN_BIN := $(CURDIR)/bin/plugins/$(PLUGIN)
PLUGIN_FAST_WAL_BIN := $(CURDIR)/bin/plugins-fast-wal/$(PLUGIN)

# The tests call no AWS over TLS, unless VAULT_ACC=1 is set, and reading a bundle of certificates for each mount of a test
# would double the time of some.
unexport AWS_CA_BUNDLE

# Without VCS stamps, because they would relink every binary at every commit.
GO_BUILD = CGO_ENABLED=0 go build -trimpath -buildvcs=false
LDFLAGS = -s -w -X main.version=$(VERSION) $(if $(WAL_MIN_AGE),-X main.walMinAge=$(WAL_MIN_AGE))

# Tests that try thousands of cases. They run without the race detector: it would take ten minutes and find nothing that it
# does not find in the other tests.
SWEEPS := ^(TestFaults|Fuzz.*|TestEveryFieldOfEveryPath|TestHugeValues|TestManyItems|TestTemplateBombs|TestDamagedStorage|TestAnyAnswer|TestEndlessAnswer|TestPasswordsAre.*)$$

SWEEP_PACKAGES := ./backend ./internal/cognito ./test/faults

# Tests that start servers. All others need nothing but Go.
PROCESS_TESTS := ./internal/sandbox/... ./scripts/... ./test

# Tests that run programs of npm and PyPI, which scripts/test-tools.sh installs.
TOOL_TESTS := ^Test(Playwright|Types|Newman|Pytest|Locust|JobFiles|Kubernetes|ClientLibraries)

.PHONY: help
help: ## List the targets
	@echo 'Usage: make TARGET [VARIABLE=value …]'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Variables: SERVER=vault|openbao and VAULT_BIN=path (which server runs), OUT and WAL_MIN_AGE (build), DEMO=1, PORT and ISSUER (dev),'
	@echo '  RACE=on|off and TESTFLAGS (tests), ROUNDS and SEED (test-reliability), HISTORIES (test-model), FUZZTIME (fuzz), PROFILES (bench), VERSION'

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
dev: ## Start a server with the plugin and an emulated Cognito (DEMO=1: show it and end; PORT=8200; ISSUER=local)
	@scripts/server.sh >/dev/null & server=$$!; trap 'kill $$server 2>/dev/null; exit 1' HUP INT TERM; \
		{ $(MAKE) --no-print-directory build emulator && $(GO_BUILD) -o bin/dev ./scripts/dev; } || { kill $$server 2>/dev/null; exit 1; }; \
		wait $$server && trap - HUP INT TERM && vault=$$(scripts/server.sh 2>/dev/null) && \
		exec bin/dev -vault "$$vault" -plugin '$(OUT)' -emulator '$(EMULATOR_BIN)' -log bin/dev.log $(if $(PORT),-port $(PORT)) $(if $(ISSUER),-issuer $(ISSUER)) $(if $(filter-out 0 no false,$(DEMO)),-demo)

# counting TARGET is a shell function that runs a target and prints the counters of its reliability tests. The file is new
# for each run, so that go test does not use a cached result.
COUNTING = counting() { \
		counters=$$(mktemp) && status=0 && export COUNTERS_FILE=$$counters; \
		$(MAKE) --no-print-directory --keep-going "$$@" || status=1; \
		echo && go run ./scripts/counters <$$counters || status=1; \
		rm -f $$counters; return $$status; \
	}

.PHONY: test
test: ## Run the unit tests, and the end-to-end tests on the server that is there
	@$(COUNTING) && counting test-unit test-e2e-and-model

.PHONY: test-reliability
test-reliability: ## The long run: every fault, ROUNDS crashes, HISTORIES per model, moto (SEED=number repeats a run)
	@export RELIABILITY=long RELIABILITY_ROUNDS=$(ROUNDS) RELIABILITY_SEED='$(SEED)' && \
		$(COUNTING) && counting test-unit test-model test-e2e test-moto RACE=off

.PHONY: test-unit
test-unit: ## Run the tests that need nothing but Go, except the model tests
	@flags=$$(scripts/test-flags.sh $(RACE)) && all=$$(go list ./...) && \
		packages=$$(echo "$$all" | grep -v -e /internal/sandbox -e /scripts/ -e '/test$$' -e /test/model) && set -x && \
		if [ "$$flags" = -race ] && [ -z '$(findstring -run,$(TESTFLAGS))' ]; then \
			go test -race -vet=off -parallel $(PARALLEL) -timeout 30m -skip '$(SWEEPS)' $(TESTFLAGS) $$packages && \
			go test -trimpath -vet=off -parallel $(PARALLEL) -timeout 30m -run '$(SWEEPS)' $(TESTFLAGS) $(SWEEP_PACKAGES); \
		else go test $$flags -vet=off -p 4 -parallel $(PARALLEL) -timeout 60m $(TESTFLAGS) $$packages; fi

.PHONY: test-e2e
test-e2e: test-binaries ## Run the tests that start a real server with the built plugin (SERVER=vault|openbao)
	@flags=$$(scripts/test-flags.sh $(RACE)) && VAULT_BIN=$$(scripts/server.sh) && export VAULT_BIN && \
		export PLUGIN_BIN='$(PLUGIN_BIN)' PLUGIN_FAST_WAL_BIN='$(PLUGIN_FAST_WAL_BIN)' EMULATOR_BIN='$(EMULATOR_BIN)' && \
		set -x && go test $$flags -vet=off -p 4 -parallel $(PARALLEL) -count=1 -timeout 80m $(TESTFLAGS) $(PROCESS_TESTS)

# The random histories are computed while the end-to-end tests wait for servers.
.PHONY: test-e2e-and-model
test-e2e-and-model:
	@output=$$(mktemp) || exit 1; nice go test -trimpath -vet=off -timeout 30m $(TESTFLAGS) ./test/model >"$$output" 2>&1 & model=$$!; \
		trap 'kill $$model 2>/dev/null; rm -f "$$output"' EXIT; trap 'exit 1' HUP INT TERM; status=0; \
		$(MAKE) --no-print-directory test-e2e || status=1; wait $$model || status=1; cat "$$output"; exit $$status

.PHONY: test-terraform
test-terraform: test-binaries terraform-tools ## Run the tests of the examples with OpenTofu, which is built once
	@VAULT_BIN=$$(scripts/server.sh) && export VAULT_BIN && \
		export PLUGIN_BIN='$(PLUGIN_BIN)' PLUGIN_FAST_WAL_BIN='$(PLUGIN_FAST_WAL_BIN)' TOFU_BIN='$(CURDIR)/bin/terraform/tofu' && \
		set -x && go test -parallel $(PARALLEL) -count=1 -timeout 20m $(TESTFLAGS) -run Example ./test

.PHONY: test-model
test-model: ## Run HISTORIES random histories of each kind of lease, of library sets and of static roles
	@set -x && go test -trimpath -count=1 -timeout 24h $(TESTFLAGS) ./test/model -rapid.checks=$(HISTORIES)

.PHONY: test-moto
test-moto: test-binaries ## Run the tests that compare with moto, another emulation of Cognito (needs Python 3.10 with venv)
	@MOTO_SERVER=$$(scripts/moto.sh) && VAULT_BIN=$$(scripts/server.sh) && export MOTO_SERVER VAULT_BIN && \
		export PLUGIN_BIN='$(PLUGIN_BIN)' PLUGIN_FAST_WAL_BIN='$(PLUGIN_FAST_WAL_BIN)' && \
		set -x && go test -parallel $(PARALLEL) -count=1 -timeout 10m $(TESTFLAGS) -run Moto ./internal/sandbox ./test

.PHONY: test-openapi
test-openapi: test-binaries ## Try the OpenAPI document that a server serves, with schemathesis (needs Python 3.11 with venv)
	@OPENAPI_TOOLS=$$(scripts/openapi-tools.sh) && VAULT_BIN=$$(scripts/server.sh) && export OPENAPI_TOOLS VAULT_BIN && \
		export PLUGIN_BIN='$(PLUGIN_BIN)' PLUGIN_FAST_WAL_BIN='$(PLUGIN_FAST_WAL_BIN)' && \
		set -x && go test -count=1 -timeout 10m $(TESTFLAGS) -run OpenAPI ./test

.PHONY: test-tools
test-tools: test-binaries ## Run the tests of CI files, test tools and application clients (needs Node.js 20 and Python 3.10)
	@go -C scripts/kubernetes build -o ../../bin/kubernetes . && { TEST_TOOLS=$$(scripts/test-tools.sh) || [ $$? -eq 3 ]; } && VAULT_BIN=$$(scripts/server.sh) && export TEST_TOOLS VAULT_BIN KUBERNETES_CHECKER='$(CURDIR)/bin/kubernetes' && \
		export PLUGIN_BIN='$(PLUGIN_BIN)' PLUGIN_FAST_WAL_BIN='$(PLUGIN_FAST_WAL_BIN)' && \
		set -x && go test -parallel 2 -count=1 -timeout 10m $(TESTFLAGS) -run '$(TOOL_TESTS)' ./test

# The tests expect the provider beside OpenTofu.
.PHONY: terraform-tools
terraform-tools:
	@scripts/terraform-tools.sh

# OUT and WAL_MIN_AGE are fixed here, because the names of these binaries say how they were built.
.PHONY: test-binaries
test-binaries: emulator
	@$(MAKE) --no-print-directory build OUT='$(PLUGIN_BIN)' WAL_MIN_AGE=
	@$(MAKE) --no-print-directory build OUT='$(PLUGIN_FAST_WAL_BIN)' WAL_MIN_AGE=5s

.PHONY: fuzz
fuzz: ## Run the fuzz tests (FUZZTIME=10s for each of the targets)
	@for package in ./backend ./internal/cognito; do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z]*' $$package/*_test.go | cut -d' ' -f2); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$package || exit 1; \
		done; \
	done

.PHONY: bench
bench: build emulator ## Measure the plugin, compared with one that does nothing; writes docs/performance.md
	@vault=$$(scripts/server.sh) && go build -o bin/bench ./test/bench && \
		bin/bench -vault "$$vault" -plugin '$(OUT)' -emulator '$(EMULATOR_BIN)' -out docs/performance.md $(if $(PROFILES),-profiles '$(PROFILES)')

.PHONY: vet
vet: ## Run go vet, also for the other systems where code depends on the system
	go vet ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go vet ./cmd/... ./internal/sandbox ./scripts/...
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go vet ./cmd/$(PLUGIN)
	go -C scripts/oci vet ./...
	go -C scripts/kubernetes vet ./...

.PHONY: lint
lint: golangci-lint actionlint ## Run golangci-lint and actionlint, which are built once into bin/
	bin/golangci-lint run ./...
	bin/actionlint -shellcheck= -pyflakes= .github/workflows/*.yml

.PHONY: fmt
fmt: golangci-lint ## Format all Go files and sort their imports
	bin/golangci-lint fmt ./...

.PHONY: golangci-lint
golangci-lint:
	@[ "$$(bin/golangci-lint version --short 2>/dev/null)" = '$(GOLANGCI_LINT_VERSION)' ] || { \
		echo 'Building golangci-lint $(GOLANGCI_LINT_VERSION) into bin/. This takes a minute or two, once.' && \
		GOBIN='$(CURDIR)/bin' go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_LINT_VERSION); }

.PHONY: actionlint
actionlint:
	@[ "$$(bin/actionlint -version 2>/dev/null | head -1)" = 'v$(ACTIONLINT_VERSION)' ] || { \
		echo 'Building actionlint $(ACTIONLINT_VERSION) into bin/, once.' && \
		CGO_ENABLED=0 GOBIN='$(CURDIR)/bin' go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION); }

.PHONY: check
check: ## Check formatting, generated files and go.mod
	@scripts/check.sh

.PHONY: dist
dist: goreleaser ## Build the files of a release into dist/, without publishing them
	@COMMIT_TIME='$(COMMIT_TIME)' scripts/dist.sh '$(VERSION)'

.PHONY: release
release: goreleaser ## Publish and sign the tag that is checked out (the release workflow does; needs GITHUB_TOKEN and cosign)
	VERSION='$(VERSION)' COMMIT_TIME='$(COMMIT_TIME)' PATH="$(CURDIR)/bin:$$PATH" bin/goreleaser release --clean

.PHONY: goreleaser
goreleaser:
	@go build -C scripts/sbom -o ../../bin/sbom . && go build -C scripts/oci -o ../../bin/oci .
	@[ "$$(bin/goreleaser --version 2>/dev/null | sed -n 's/^GitVersion: *v*//p')" = '$(GORELEASER_VERSION)' ] || { \
		echo 'Building GoReleaser $(GORELEASER_VERSION) into bin/. This takes some minutes, once.' && \
		CGO_ENABLED=0 GOBIN='$(CURDIR)/bin' go install github.com/goreleaser/goreleaser/v2@v$(GORELEASER_VERSION); }

.PHONY: clean
clean: ## Remove what was built, except servers and tools
	rm -rf dist bin/bench bin/dev bin/dev.log bin/plugins bin/plugins-fast-wal '$(EMULATOR_BIN)' coverage.out
