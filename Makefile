# make build     bin/kbuild, one static binary
# make demo      install what is missing, build kbuild, and see the whole job done
# make test      install what is missing, and run all tests but the long ones;
#                make test PKG=./mirror RUN=TestPull runs that alone, as you
# make test-all  every test, as you and as root, the linters, a short soak, and a real tree
# make lint      gofmt, go vet and golangci-lint
# Before a release:
# make ages      trees of every age, and random edits of them; with KUBE_GIT=DIR, a git directory
#                that has Kubernetes' history, real ones too (.ci/real; also KUBE_TREES, REAL)
# make soak      power cuts, kills, full, failing and read-only disks, wrong clocks, crowds,
#                machines that share what they compile;
#                SOAK='-rounds 5 power kill'
# make bench     the benchmarks, and kbuild beside podman, buildah and the bare host
# make vuln      what the Go project's database knows of the dependencies; needs the network
# make clean     remove bin

SHELL := /bin/bash
.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: build prereqs demo test test-all lint ages soak bench vuln clean

# Everything is in vendor and compiled with the Go that is here. Without cgo the
# program would start itself again for ever (storage/namespace/nocgo.go), so nobody gets to
# switch it off. The tags leave gcc, libc and libseccomp as all that C needs,
# and make a static binary that asks no shared library for users and hosts. It
# names no directory of this machine, and what one clone compiled serves others.
override export CGO_ENABLED := 1
override export GOTOOLCHAIN := local
override export GOWORK := off
override export GOFLAGS := -mod=vendor -buildvcs=false -trimpath \
	-tags=containers_image_openpgp,exclude_graphdriver_btrfs,seccomp,netgo,osusergo
# By far the most C is sqlite, in which containers/image keeps where it saw a blob.
# With cgo's -g -O2 it takes gcc three times as long, and nothing is faster for it.
export CGO_CFLAGS ?= -O1

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# Of a build that succeeds the linker's warnings are not shown: there is one of
# dlopen, in a PKCS#11 library that comes along and is never called.
build:
	@.ci/go-release
	@echo 'building bin/kbuild (a minute or two the first time)'
	@output=$$(go build -o bin/kbuild -ldflags '-s -w -linkmode external -extldflags -static -X main.version=$(VERSION)' \
		./cmd/kbuild 2>&1) || { echo "$$output" >&2; exit 1; }

prereqs:
	@.ci/prereqs

demo: prereqs build
	bin/kbuild demo

# Tests are static programs too. Where containers/image is told no directory for
# temporary files it takes the one built into it, whatever TMPDIR says, and a
# killed run leaves them there. In the tests that is one that does not exist.
# They are linked without what only debuggers read, which takes a third less time.
export TEST_LDFLAGS := -s -w -linkmode external -extldflags -static \
	-X github.com/containers/image/v5/internal/tmpdir.unixTempDirForBigFiles=/not-told

# PKG are packages, RUN is what go test -run takes; without them, all there is.
PKG :=
RUN :=
ifneq ($(PKG)$(RUN),)
test:
	@.ci/one '$(or $(PKG),./...)' '$(or $(RUN),.)'
else
test:
	@.ci/prereqs test
	@.ci/test quick
endif

test-all:
	@.ci/prereqs test
	@$(MAKE) --no-print-directory build
	@.ci/test all

# RANDOM_STEPS are those of the random edits, of each toolchain.
RANDOM_STEPS := 100
ages: prereqs build
ifdef KUBE_GIT
	@KUBE_GIT='$(KUBE_GIT)' .ci/ages
endif
	@.ci/one ./cmd/kbuild 'TestScripts/ages'
	@KBUILD_RANDOM_STEPS=$(RANDOM_STEPS) .ci/one ./cmd/kbuild TestRandom -timeout 10h

# SOAK are flags and parts of kbuild-soak: SOAK='-seed 7 -rounds 5 power kill'.
soak: prereqs build
	@go build -o bin/kbuild-soak ./cmd/kbuild-soak
	@bin/kbuild-soak $(SOAK)

lint:
	@.ci/lint

# BENCH are flags of kbuild-bench: BENCH='-tree DIR -base oci-archive:FILE'.
bench: prereqs build
	go test -run '^$$' -bench . -benchmem ./...
	go build -o bin/kbuild-bench ./cmd/kbuild-bench
	bin/kbuild-bench $(BENCH)

# The tool is compiled outside of vendor, from the module proxy; 1.7 is the last
# one that Go 1.25 builds.
vuln:
	GOFLAGS= CGO_ENABLED=0 GOBIN=$(CURDIR)/bin go install golang.org/x/vuln/cmd/govulncheck@v1.7.0
	bin/govulncheck ./...

clean:
	rm -rf bin
