# klive: set-up, build and tests. "make run" and "make test" are all that a fresh machine
# needs besides Go, make and a Debian 12 or newer (or Ubuntu 24.04) package manager.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

GO          ?= go
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
ARGS        ?=
FUZZTIME    ?= 10s
PROVE       ?= .
BENCH       ?= .
# Tests that are skipped under the race detector (check.Calculation).
CALCULATIONS := TestAnyDisturbance|TestAnyStream|TestBitratesAndBackup|TestChapters|TestCostOfWindow|TestDayLongBroadcast|TestHeadTooLarge|TestJitterDrift|TestMemoryOfAVastFile|TestPlaylistsKeepTheRules|TestReconnects|TestSoundBeforeTheFirstPicture|TestSyncOverHours|TestTransportWrap
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM   := gotest.tools/gotestsum@v1.13.0
VERSITYGW   := github.com/versity/versitygw/cmd/versitygw@v1.8.0
TFLINT      := github.com/terraform-linters/tflint@v0.64.0

CONSOLE := infra/admin/console
BROWSER := infra/e2e/browser
CLIENTS := infra/kaltura/controlplane/testdata/clients
BUNDLE  := $(CONSOLE)/dist/index.html
NPM     := npm --no-fund --no-audit --loglevel=error

# gotestsum names each skipped test and its reason at the end; go test, in its stead, hides them.
TEST = $(if $(wildcard .tools/bin/gotestsum),.tools/bin/gotestsum --format pkgname --,$(GO) test)

# Packages whose tests need neither a cluster of processes nor images.
UNIT = $$($(GO) list ./... | grep -vE '/infra/(e2e|images)|/terraform')

.PHONY: run build test test-unit test-e2e test-infra images encoders prove bench fuzz lint setup-run setup-test clean help

## run: install what is missing, build, and run klive with everything in one process
run: build
	bin/klive serve $(ARGS)

## build: the console page and the binary bin/klive
build: $(BUNDLE)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/klive .

## test: end to end, then unit tests with the race detector; within 15 minutes on 2 cores
# The end-to-end tests mostly wait: what the unit tests need is compiled meanwhile, in their shadow.
test: setup-test build
	nice -n 19 $(GO) list -p 1 -race -export -test -deps $(UNIT) >/dev/null 2>&1 & \
	trap "kill $$! 2>/dev/null || true" EXIT; $(MAKE) --no-print-directory test-e2e
	$(MAKE) --no-print-directory test-unit

# Three packages at a time on two cores: many of their tests wait for a browser, a server or a deadline.
test-unit: setup-test $(BUNDLE)
	$(TEST) -race -p 3 -timeout 12m $(UNIT)
	$(GO) test -tags previous -run TestPreviousForms ./storage/timeline
	$(GO) test -run '$(CALCULATIONS)' ./gateway ./storage/playlist ./storage/timeline ./workers/packager ./workers/recorder

test-e2e: setup-test build
	$(TEST) -count=1 -timeout 18m -parallel 5 ./infra/e2e/...

## test-infra: static binaries for both processors, images, deployment
test-infra: setup-test $(BUNDLE) .tools/infra .tools/bin/tflint
	for arch in amd64 arm64; do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -o /dev/null . ; echo "linux/$$arch builds"; done
	$(GO) test -count=1 -v ./infra/images/... ./terraform/...

## images: both container images with buildah, without an image registry (as root)
images:
	.ci/install --optional buildah=buildah=crun=fuse-overlayfs mmdebstrap=mmdebstrap
	infra/images/build

## encoders: ffmpeg 7 and 9 and OBS from newer Debians, in folders of their own, for make prove (as root; 2 GB)
encoders:
	.ci/install mmdebstrap=mmdebstrap unshare=util-linux
	infra/e2e/encoders $(CURDIR)/.tools/encoders

## prove: the points at their stated length (PROVE=regexp chooses)
prove: setup-test build
	KLIVE_PROVE=1 $(GO) test -count=1 -v -p 1 -timeout 240m -run '$(PROVE)' ./infra/e2e/... ./infra/bus ./gateway ./gateway/srt ./gateway/whip ./workers/... ./storage/origin ./storage/playlist

## bench: CPU, memory and allocations per stream (BENCH=regexp chooses)
bench: setup-test build
	$(GO) test -count=1 -run '^$$' -bench '$(BENCH)' -benchtime 1x -timeout 60m ./infra/e2e/... ./workers/transcode/...

## fuzz: every fuzz target for FUZZTIME
fuzz: $(BUNDLE)
	FUZZTIME=$(FUZZTIME) .ci/fuzz

## lint: formatting, vet, staticcheck, the page's types
lint: $(BUNDLE)
	@bad=$$(find . -name '*.go' -not -path '*/node_modules/*' -print0 | xargs -0 gofmt -l); \
	  if [ -n "$$bad" ]; then echo "gofmt wants changes in:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./... && $(GO) vet -tags previous ./storage/timeline
	$(GO) test -count=1 -run 'TestRooms|TestSizes|TestAcceptance' .
	if $(GO) run $(STATICCHECK) -version >/dev/null 2>&1; then $(GO) run $(STATICCHECK) ./...; \
	  else echo "SKIP: staticcheck can't be obtained here"; fi
	cd $(CONSOLE) && node_modules/.bin/tsc --noEmit

## setup-run: ffmpeg, and Node.js for the console page
setup-run: .tools/run
.tools/run: .ci/install Makefile
	.ci/install ffmpeg=ffmpeg ffprobe=ffmpeg node=nodejs npm=npm
	@mkdir -p .tools && touch $@

## setup-test: what the tests need besides
setup-test: setup-run .tools/test .tools/bin/versitygw .tools/bin/gotestsum $(BROWSER)/node_modules/.stamp $(CLIENTS)/node_modules/.stamp
.tools/test: .ci/install Makefile
	.ci/install gcc=gcc=libc6-dev
	.ci/install --optional srt-live-transmit=srt-tools
	.ci/install --optional $(if $(CHROMIUM),$(CHROMIUM),chromium)=chromium
	.ci/install --optional nginx=nginx-light
	.ci/install --optional wrk=wrk
	.ci/install --optional ip=iproute2
	.ci/install --optional openssl=openssl curl=curl
	@mkdir -p .tools && touch $@

# What the deployment's tests need besides.
.tools/infra: .ci/install Makefile
	.ci/install --optional shellcheck=shellcheck
	.ci/install --optional openssl=openssl python3=python3
	@mkdir -p .tools && touch $@

# A real S3 server, built in some minutes. Tests look for it in .tools/bin, then in the PATH.
.tools/bin/versitygw:
	GOBIN=$(CURDIR)/.tools/bin $(GO) install $(VERSITYGW) || \
	  echo "Going on without versitygw. The tests that need it will be skipped."

.tools/bin/gotestsum:
	GOBIN=$(CURDIR)/.tools/bin $(GO) install $(GOTESTSUM) || \
	  echo "Going on without gotestsum. Skipped tests will not be named."

# Built in some minutes, of which a slow machine would need too many.
.tools/bin/tflint:
	GOBIN=$(CURDIR)/.tools/bin timeout 6m $(GO) install $(TFLINT) || \
	  echo "Going on without tflint. The test that needs it will be skipped."

$(CONSOLE)/node_modules/.stamp: $(CONSOLE)/package-lock.json | setup-run
	cd $(CONSOLE) && $(NPM) ci
	@touch $@

$(BROWSER)/node_modules/.stamp: $(BROWSER)/package-lock.json | setup-run
	cd $(BROWSER) && $(NPM) ci
	@touch $@

# Kaltura's own API clients, which tests run as processes. They are under the AGPL: never
# linked, bundled or shipped.
$(CLIENTS)/node_modules/.stamp: $(CLIENTS)/package-lock.json | setup-run
	cd $(CLIENTS) && { $(NPM) ci || echo "Going on without Kaltura's clients. The tests that need them will be skipped."; }
	@mkdir -p $(@D) && touch $@

$(BUNDLE): $(CONSOLE)/node_modules/.stamp $(CONSOLE)/build.mjs $(wildcard $(CONSOLE)/src/*)
	cd $(CONSOLE) && node build.mjs
	@touch $@

## clean: remove what was built; data/ and installed packages stay
clean:
	rm -rf --one-file-system bin .tools $(CONSOLE)/node_modules $(BROWSER)/node_modules $(CLIENTS)/node_modules
	find $(CONSOLE)/dist -mindepth 1 -not -name .keep -delete

## help: this list
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)
