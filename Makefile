# Everything that is done with this project; `make` lists it. The same targets run here and in CI (.ci/run).
# ARGS passes arguments on: make run ARGS="--listen 127.0.0.1:8025", make test ARGS="tests/unit -x".
# Tests come in tiers: `test` runs anywhere; `test-system` runs the slow ones and those that need root or Debian packages. CI runs both.

SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
ARGS ?=
SYSTEM_PACKAGES := openssl=openssl node=nodejs npm=npm mkfs.ext4=e2fsprogs setpriv=util-linux gcc=gcc jq=jq \
	systemd-analyze=systemd unshare=util-linux strace=strace faketime=faketime zsh=zsh
# Where it is set, every process of every test would compile everything it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run test test-system test-all test-pythons test-typescript test-go test-dashboard pictures test-agents test-hosts hosts conformance check protos docs lock dist audit faults soak bench bench-quick profile format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/dev.stamp ## Make .venv and install the project with its development tools (only when pyproject.toml changed)

run: .venv/run.stamp ## Run the daemon in the foreground; Ctrl-C stops it
	@echo 'In another terminal, here: source .venv/bin/activate && mailroom watch abc'
	@exec .venv/bin/mailroomd $(ARGS)

test: .venv/dev.stamp ## Run the tests that need neither root nor Debian packages (two minutes)
	@scripts/pytest -m "not slow and not system" $(ARGS)

test-system: .venv/dev.stamp ## Run the other tests: the slow ones, and those that need root, Debian packages, systemd or loop mounts
	@scripts/test-system "$(SYSTEM_PACKAGES)" $(ARGS)

test-all: .venv/dev.stamp ## Run every test
	@scripts/need-debian $(SYSTEM_PACKAGES)
	@scripts/pytest $(ARGS)

test-pythons: .venv/dev.stamp ## Run the unit and component tests and the wheel's on each supported Python installed here
	@scripts/test-pythons $(ARGS)

test-typescript: .venv/dev.stamp ## Install, check, build and test the TypeScript client (needs Node 20 or newer)
	@scripts/need-debian openssl=openssl node=nodejs npm=npm
	@cd clients/typescript && npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error && npm run --silent check && npm run --silent test

conformance: .venv/dev.stamp ## Try every client library and SDK that can be built here (REQUIRE=go,rust fails without these)
	@PYTHONPATH=tests:clients .venv/bin/python -m conformance $(ARGS)

test-go: .venv/dev.stamp ## Check and test the Go client (needs Go 1.26 or newer, and gcc for the race detector)
	@scripts/need-go
	@clients/go/scripts/check && cd clients/go && go test -race -timeout 30m ./... $(ARGS)

test-dashboard: .venv/browser.stamp ## Run the tests of the dashboard in Chromium (needs Debian's chromium, and npm to fetch axe-core)
	@scripts/need-debian chromium=chromium npm=npm
	@scripts/fetch-axe .venv/axe
	@scripts/test-dashboard $(ARGS)

pictures: .venv/browser.stamp .venv/bench.stamp ## Take the pictures in docs/dashboard/ again; look at them
	@scripts/need-debian chromium=chromium npm=npm
	@scripts/fetch-axe .venv/axe
	@scripts/pictures

test-agents: .venv/dev.stamp ## Install the real agent programs from npm and test Mailroom with them (ARGS="-m quick": a part)
	@scripts/need-debian node=nodejs npm=npm tmux=tmux unshare=util-linux ip=iproute2 git=git
	@scripts/test-agents $(ARGS)

test-hosts: .venv/dev.stamp ## Run the tests of several hosts: daemons and real NATS servers, killed, cut off and restored (needs root)
	@scripts/test-hosts $(ARGS)

hosts: .venv/dev.stamp ## Run the campaign of several hosts (half an hour, as root), and put its figures into docs/hosts.md
	@scripts/need-debian ip=iproute2 nsenter=util-linux mkfs.ext4=e2fsprogs faketime=faketime
	@scripts/fetch-old-nats .venv/nats-server-old
	@MAILROOM_HOSTS_SEC=$${MAILROOM_HOSTS_SEC:-1800} \
	  .venv/bin/python -m pytest -s -m hosts --timeout 3600 tests/hosts/test_campaign.py -k half_an_hour $(ARGS)

check: .venv/dev.stamp .venv/bench.stamp .venv/browser.stamp ## Check format, lint, types, layers, the contract, generated code and pages, spelling, words
	@scripts/check

protos: .venv/dev.stamp ## Generate the code of the contract again
	@protos/generate.sh

docs: .venv/dev.stamp ## Write what is generated again: settings, errors, SECURITY.md's table of RPCs, the first answers of `mailroom mcp`
	@scripts/settings-docs
	@scripts/errors-docs
	@scripts/access-docs
	@scripts/first-answers

lock: .venv/dev.stamp ## Pin what an installation needs, with hashes (ARGS=--upgrade: the newest)
	@scripts/lock $(ARGS)

dist: .venv/dev.stamp ## Build sdist, wheel, lock and bill of materials into dist/
	@scripts/dist

audit: .venv/dev.stamp ## Look for known vulnerabilities in what the lock installs
	@scripts/audit

faults: .venv/dev.stamp ## Run the long campaign of fault tests (an hour), and put its figures into docs/reliability.md
	@scripts/need-debian $(SYSTEM_PACKAGES)
	@PYTHONPATH=tests .venv/bin/python -m support.faults.fault_report begin
	@MAILROOM_TEST_CAMPAIGN=1 MAILROOM_TEST_ROUNDS=$${MAILROOM_TEST_ROUNDS:-20} MAILROOM_FAULT_RESULTS=tests/faults/results/trials.jsonl \
	  .venv/bin/python -m pytest -m faults --numprocesses 2 --dist worksteal tests/faults $(ARGS)
	@PYTHONPATH=tests .venv/bin/python -m support.faults.fault_report write

soak: .venv/dev.stamp ## Run the daemon under everything at once for half an hour, and fail where it grows
	@MAILROOM_SOAK_SEC=$${MAILROOM_SOAK_SEC:-1800} .venv/bin/python -m pytest -s -m faults tests/faults/test_soak.py $(ARGS)

bench: .venv/bench.stamp .venv/browser.stamp ## Measure everything (half an hour), and put the figures into benchmarks/ and docs/
	@scripts/need-debian h2load=nghttp2-client redis-server chromium=chromium
	@.venv/bin/python -m benchmarks $(ARGS)
	@.venv/bin/python -m benchmarks.report --write

bench-quick: .venv/bench.stamp .venv/browser.stamp ## Measure everything roughly (some minutes); no figure to publish
	@scripts/need-debian h2load=nghttp2-client redis-server chromium=chromium
	@.venv/bin/python -m benchmarks --quick $(ARGS)

profile: .venv/bench.stamp ## Say where each process spends its time under load; ARGS="single" for another load
	@scripts/need-debian h2load=nghttp2-client strace perf=linux-perf
	@.venv/bin/python -m benchmarks.profiling $(ARGS)

format: .venv/dev.stamp ## Format the code, and mend what ruff can
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format .

clean: ## Remove what builds and tools leave behind; .venv stays
	@rm -rf clients/typescript/dist clients/typescript/.test-build clients/typescript/node_modules
	@rm -rf clients/conformance/.build clients/conformance/adapters/node/node_modules
	@rm -rf dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# An environment whose Python is gone (upgraded away, say) is made anew.
$(shell test -x .venv/bin/python || rm -f .venv/*.stamp)
MAKE_VENV := test -x .venv/bin/python || scripts/make-venv

# What the daemon needs; quick.
.venv/run.stamp: pyproject.toml
	@$(MAKE_VENV)
	@echo 'Installing mailroomd into .venv ...'
	@scripts/install --editable .
	@touch $@

# That, and what tests and checks need.
.venv/dev.stamp: pyproject.toml
	@$(MAKE_VENV)
	@echo 'Installing mailroomd with its development tools into .venv ...'
	@scripts/install --editable '.[dev]'
	@touch .venv/run.stamp $@

# That, and what the benchmarks compare with and draw by; the checks look at their code, too.
.venv/bench.stamp: .venv/dev.stamp
	@echo 'Installing what the benchmarks need ...'
	@scripts/install --editable '.[bench]'
	@touch $@

# What the tests of the dashboard drive the browser with; the browser is Debian's.
.venv/browser.stamp: .venv/dev.stamp
	@echo 'Installing Playwright for Python ...'
	@scripts/install --editable '.[browser]'
	@touch $@
