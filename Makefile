# swiftcni: `make` alone lists what there is to do.
SHELL := /bin/bash
PREFIX ?= /usr/local
PLUGINDIR ?=
PKG ?= ./...
RUN ?= .
# Some directories are modules of their own, so that who imports swiftcni needs none of what they do.
MODULES := . cmd/swiftctl cmd/swiftcni-exporter bench cni/inprocess internal/tool/dist
# The oldest Go that go.mod allows.
OLDEST := go1.25.14
# A semantic version: the tag's, or one that follows from it and the commit.
VERSION ?= $(shell internal/tool/version.sh)
BIN ?= bin
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
# Small, and alike wherever it's built; one static binary, which begins in internal/entry, and before that in
# internal/handover if it's the plugins'. Both are instructions of two architectures. Go 1.26's new collector, which
# never runs in it, touches two pages of each new span instead of one; later versions know no other. Inlining our own
# packages, google/nftables or golang.org/x is a fifteenth of the binary, and no faster.
ENTRY = $(if $(filter amd64 arm64,$(shell go env GOARCH)),-E swiftcni_$(1))
GOBUILD = CGO_ENABLED=0 GOEXPERIMENT=$(if $(findstring go1.26,$(shell go env GOVERSION)),nogreenteagc) go -C $(2) build -trimpath -buildvcs=false -gcflags=github.com/swiftcni/...=-l -gcflags=github.com/google/nftables/...=-l -gcflags=golang.org/x/...=-l -ldflags "-s -w $(ENTRY) -X github.com/swiftcni/swiftcni/cni.linkedVersion=$(VERSION)"
# The exporter speaks HTTP, so it's built with the Go that its go.mod names, which has net/http's fixes. It begins as any program.
EXPORTER = CGO_ENABLED=0 GOTOOLCHAIN=auto go -C cmd/swiftcni-exporter build -trimpath -buildvcs=false -ldflags "-s -w -X github.com/swiftcni/swiftcni/cni.linkedVersion=$(VERSION)"

.PHONY: nightly help build install man demo conformance unit test test-deps worlds lint tidy oldest builds arches api vulns golden fuzz bench bench-libcni bench-quick crash race old-kernels soak check arm64 dist dist-check clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t16

build: ## bin/swiftcni, the plugins, bin/swiftctl, the tool, and bin/swiftcni-exporter, a resident's metrics (BIN=directory)
	$(call GOBUILD,handover,.) -o $(abspath $(BIN))/swiftcni ./cmd/swiftcni
	$(call GOBUILD,entry,cmd/swiftctl) -o $(abspath $(BIN))/swiftctl .
	$(EXPORTER) -o $(abspath $(BIN))/swiftcni-exporter .

install: build ## link every plugin name where this host's runtimes look, or in PLUGINDIR=/opt/cni/bin; swiftctl, exporter, units and manual pages in PREFIX=/usr/local
	install -D -m 755 -t $(PREFIX)/bin bin/swiftctl bin/swiftcni-exporter
	$(PREFIX)/bin/swiftctl install --binary bin/swiftcni --units $(abspath $(PREFIX))/lib/systemd/system $(PLUGINDIR)
	install -D -m 644 -t $(PREFIX)/share/man/man5 docs/man/*.5
	install -D -m 644 -t $(PREFIX)/share/man/man8 docs/man/*.8
	sed -i '1,3s/^\(\.TH .*\) swiftcni$$/\1 "swiftcni $(VERSION:v%=%)"/' $(PREFIX)/share/man/man[58]/swiftc*.[58]

man: ## rewrite docs/man from docs/keys.md and swiftctl's help
	cd cmd/swiftctl && go test ./internal/man . -run TestManualPage -update

demo: build ## attach two real containers by script and two by OCI hook, and look at them (as root)
	internal/tool/demo/demo.sh bin

unit: ## what can be tested without root, with nothing but Go, ip and nsenter; under a minute
	status=0; go test -short $$(go list ./... | grep -vE '/cmd/swiftcni$$|/internal/test/|/internal/tool/demo$$') || status=1; \
	(cd cmd/swiftctl && go test -short ./...) || status=1; (cd cmd/swiftcni-exporter && go test -short .) || status=1; (cd cni/inprocess && go test -short .) || status=1; exit $$status

# Other architectures whose unit tests run by qemu-user: all of a release's. arm has 32 bits, and s390x is big-endian.
OTHERS := arm64 arm riscv64 ppc64le s390x mips64le loong64

arches: ## unit tests of other architectures by qemu-user, but for those that need the kernel itself (ARCHES="arm s390x" for less)
	@mkdir -p .cache/arches; status=0; for arch in $(or $(ARCHES),$(OTHERS)); do log=.cache/arches/$$arch.log; \
		GOARCH=$$arch go test -v -short -run '^(Test|Fuzz)' -exec $(CURDIR)/internal/tool/emulate.sh $$(go list ./... | grep -vE '/cmd/swiftcni$$|/internal/(test|tool)/') >$$log 2>&1 || \
			{ status=1; grep -aE -B10 '^ *--- FAIL|^panic:|^FAIL' $$log; }; \
		echo "$$arch: $$(grep -ac '^--- PASS' $$log) tests passed, $$(grep -ac '^--- SKIP' $$log) left out"; done; exit $$status

test-deps: ## what the tests need of Debian (as root)
	internal/tool/testdeps.sh

test: test-deps ## everything, with the real kernel (as root; RUN=TestName PKG=./rtnl for less)
	status=0; go test $(GOTESTFLAGS) -timeout 2h -run '$(RUN)' $(PKG) || status=1; \
	$(if $(filter ./...,$(PKG)),for module in $(filter-out .,$(MODULES)); do \
		(cd $$module && go test $(GOTESTFLAGS) -timeout 1h -run '$(RUN)' ./...) || status=1; done;) exit $$status

worlds: ## real runtimes with swiftcni as their plugins, and pod start times beside the reference (as root)
	internal/tool/testdeps.sh worlds
	go test -v -count=1 -tags worlds -timeout 3h ./internal/test/worlds ./internal/test/kernels

lint: ## gofmt, vet, staticcheck, for amd64 and arm64; actionlint
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "not gofmt'd"; exit 1; }
	GOBIN=$(CURDIR)/.cache/bin go install $(STATICCHECK)
	GOBIN=$(CURDIR)/.cache/bin go install $(ACTIONLINT)
	$(CURDIR)/.cache/bin/actionlint -shellcheck= -pyflakes=
	@set -e; for module in $(MODULES); do for arch in amd64 arm64; do echo "vet, staticcheck: $$module, $$arch"; \
		(cd $$module; export GOARCH=$$arch; go vet ./...; $(CURDIR)/.cache/bin/staticcheck ./...); done; done

tidy: ## fail unless each go.mod and go.sum is as `go mod tidy` writes it
	@set -e; for module in $(MODULES); do (cd $$module; go mod tidy -diff); done

oldest: ## build and vet with the oldest Go that go.mod allows
	GOTOOLCHAIN=$(OLDEST) go build ./...
	GOTOOLCHAIN=$(OLDEST) go -C cmd/swiftctl build -o /dev/null .
	GOTOOLCHAIN=$(OLDEST) go vet ./...
	GOTOOLCHAIN=$(OLDEST) go -C cmd/swiftctl vet ./...

# Builds of swiftcni that aren't the release's, each by its flags of go build.
BUILDS := plain pie
build-plain :=
build-pie := -buildmode=pie

# Tests in which many goroutines attach at once, for the race detector.
RACES := TestAttachAll|TestAttachConcurrently|TestManyAtOnce|TestOpenConcurrently|TestFirstAttachesAtOnce|TestClientConcurrently|TestCloseDuringCalls

builds: ## attach with swiftcni as `go build` alone makes it, position-independent, and in-process under the race detector (as root)
	@set -e; $(foreach b,$(BUILDS),echo "$(b): go build $(build-$(b))"; go build $(build-$(b)) -o .cache/builds/$(b) ./cmd/swiftcni; \
		SWIFTCNI_TEST_BINARY=$(CURDIR)/.cache/builds/$(b) go test -count=1 ./cmd/swiftcni -run '^TestScript$$/^(add_twice|chain|classic|del|masquerade)$$';)
	go test -race -count=1 -timeout 30m -run '^($(RACES))$$' ./cni ./rtnl ./nft ./ipam ./internal/inside ./internal/sockets

api: ## how the exported API differs from the last release's, or SINCE=revision's
	@git --no-pager diff --unified=0 $(or $(SINCE),$$(git describe --tags --abbrev=0 2>/dev/null || git log --reverse --format=%h -- internal/api/testdata | head -1)) -- internal/api/testdata

vulns: ## known vulnerabilities in the programs; the database comes as a module
	dir=$$(go mod download -json golang.org/x/vulndb@latest | sed -n 's/.*"Dir": "\(.*\)",.*/\1/p') && go run ./internal/tool/vulns "$$dir" .cache/vulndb
	go run $(GOVULNCHECK) -db file://$(CURDIR)/.cache/vulndb ./cmd/...
	go -C cmd/swiftctl run $(GOVULNCHECK) -db file://$(CURDIR)/.cache/vulndb ./...
	GOTOOLCHAIN=auto go -C cmd/swiftcni-exporter run $(GOVULNCHECK) -db file://$(CURDIR)/.cache/vulndb ./...

conformance: ## the reference's own suites, executing its programs and ours, to docs/conformance.md; 6 minutes (as root; PAGE=file)
	go test -v -count=1 -timeout 30m ./internal/test/conformance -conformance.reference -conformance.page $(abspath $(or $(PAGE),docs/conformance.md))

golden: ## rewrite golden files from what the kernel accepts; review the diff like code
	go test ./rtnl ./nft ./internal/veth -update
	go test ./cmd/swiftcni -run TestCounts -update

fuzz: ## each fuzz target for FUZZTIME=30s
	@set -e; for module in $(MODULES); do (cd $$module; $(CURDIR)/internal/tool/fuzz.sh $${FUZZTIME:-30s}); done

bench: build ## every benchmark, beside the reference, a floor in C and empty processes; about 25 minutes (as root; OUT=directory DOC=docs/performance.md)
	go -C bench run . all -out $(abspath $(or $(OUT),.cache/bench/report)) $(if $(DOC),-doc $(abspath $(DOC)))

bench-libcni: ## programs that use libcni and go-cni: the reference's plugins, ours, and ours in-process; 100 rounds in 2 minutes (as root; ROUNDS=n)
	cd cni/inprocess && go test -run none -bench . -benchtime $(or $(ROUNDS),100)x ./libcnitest

bench-quick: build ## the same in a minute
	go -C bench run . all -quick -out $(abspath $(or $(OUT),.cache/bench/report))

crash: ## kill and fail every system call of ADD, DEL, CHECK and GC, of every plugin and of the resident; half an hour (as root; WAY=swiftcni-resident for one way)
	go -C bench run ./crash $(if $(WAY),-way $(WAY))

race: ## 10,000 random operations against a model, and as many with a resident that's killed and replaced (as root; SEED=n replays)
	go -C bench run ./race -ops 10000 $(if $(SEED),-seed $(SEED))
	go -C bench run ./race -ops 10000 -resident $(if $(SEED),-seed $(SEED))

old-kernels: ## all scripts of cmd/swiftcni with every call refused that Linux 4.18 lacks, by ENOSYS and by EPERM (as root)
	status=0; for errno in ENOSYS EPERM; do SWIFTCNI_TEST_KERNEL=$$errno go test $(GOTESTFLAGS) -count=1 ./cmd/swiftcni -run '^TestScript$$' || status=1; done; exit $$status

soak: ## a million of them
	go -C bench run ./race -ops 1000000

arm64: ## cross-build; the programs also compile where an int has 32 bits, and where a device has
	GOARCH=arm64 $(MAKE) build BIN=bin/arm64
	GOARCH=arm GOARM=7 $(MAKE) build BIN=.cache/arm
	GOARCH=mips64le $(MAKE) build BIN=.cache/mips64le

dist: ## a release's files in dist/: docs/releases.md lists them (ARCHES="amd64 arm64" for less)
	rm -rf dist
	go -C internal/tool/dist run . -root $(CURDIR) -out $(CURDIR)/dist -version $(VERSION)$(if $(ARCHES), -arches "$(ARCHES)")

dist-check: ## another user makes the same files with nothing compiled before; the source builds offline; minutes (as root)
	go -C internal/tool/dist test -v -count=1 -timeout 1h -tags worlds .

check: ## what CI runs, .ci/run (as root)
	.ci/run

NIGHTLY := conformance fuzz crash race soak arches old-kernels worlds dist-check bench

nightly: ## what takes too long for CI, one after the other, with the time that each took; most of a night (as root; NIGHTLY="fuzz race" for less)
	@mkdir -p .cache/nightly; status=0; for target in $(NIGHTLY); do begin=$$SECONDS; result=passed; \
		$(MAKE) $$target PAGE=.cache/nightly/conformance.md >.cache/nightly/$$target.log 2>&1 </dev/null || { result=FAILED; status=1; }; \
		echo "$$target $$result after $$((SECONDS - begin)) s, .cache/nightly/$$target.log"; done; exit $$status

clean: ## remove what was built
	rm -rf bin dist .cache
