# Targets for people and for CI. `make` alone lists them.

GO ?= go
# Where run-minio's server listens: loopback only.
MINIO_ADDRESS ?= 127.0.0.1:9000
# How long `make fuzz` runs each target.
FUZZTIME ?= 60s
# Above the slowest package's time, below a CI's patience.
TEST_TIMEOUT ?= 15m
# More flags for go test, as in: make test TESTFLAGS='-run Produce -v'
TESTFLAGS ?=

# Of make run-cluster: more flags, as in RUNFLAGS='--ingest 5'; --help lists them.
RUNFLAGS ?=

# Of make torture: how long faults are made in a round, the seed of the first
# round (0: a random one), how many rounds, and more flags for the tool.
DURATION ?= 1m
SEED ?= 0
ROUNDS ?= 1
TORTUREFLAGS ?=

# Of make failover: more flags, as in FAILOVERFLAGS='--kills 5'; --help lists them.
FAILOVERFLAGS ?=

# Of make bench and make bench-kafka: more flags for the tool, as in
# BENCHFLAGS='--only file/produce --runs 3'; --help lists them.
BENCHFLAGS ?=
# Of make bench-soak: bytes of records that are written in DURATION.
SIZE ?= 1GB

PACKAGES := ./...
FOLDERS := cmd fetch ingest metadata testenv tiering
# Go stamps the version from git, and fails where git does (no git, a source
# archive, a clone of another user): there it is built without.
VCS := $(shell git rev-parse --verify --quiet HEAD >/dev/null 2>&1 && echo true || echo false)
BUILD := $(GO) build -buildvcs=$(VCS) -trimpath -ldflags '-s -w'
TEST := $(GO) test -vet=off -timeout $(TEST_TIMEOUT)

.PHONY: help build run run-minio run-cluster minio check test test-short attacks race fuzz torture failover clients stores bench bench-archive bench-soak bench-memory bench-kafka mutants clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/varve
	CGO_ENABLED=0 $(BUILD) -o bin/varve ./cmd/varve

run: build ## run varve with a bucket in ./varve-data/bucket
	@exec bin/varve serve --flush-interval 20ms

run-minio: build bin/minioserver ## run varve on a local MinIO, built the first time
	@exec bin/minioserver exec --dir varve-data/minio --address $(MINIO_ADDRESS) -- \
		bin/varve serve --data-dir varve-data/run-minio --bucket 'minio://$(MINIO_ADDRESS)/varve?secure=false' --create-bucket --flush-interval 20ms

run-cluster: build minio ## run three nodes that write and two that read, next to MinIO and NATS: RUNFLAGS=
	@CGO_ENABLED=0 $(BUILD) -o bin/runcluster ./testenv/nodes/runcluster
	@exec bin/runcluster --varve bin/varve --flag=--flush-interval=20ms $(RUNFLAGS)

minio: bin/minioserver ## build the MinIO server that tests use (once, two to five minutes)
	@bin/minioserver build

.PHONY: bin/minioserver
bin/minioserver:
	@CGO_ENABLED=0 $(BUILD) -o $@ ./testenv/miniod/minioserver

check: ## vet and gofmt
	$(GO) vet $(PACKAGES)
	@unformatted=$$(gofmt -l $(FOLDERS)); \
	if [ -n "$$unformatted" ]; then \
		printf 'not formatted; run gofmt -w on:\n%s\n' "$$unformatted" >&2; exit 1; \
	fi

test: check build bin/minioserver ## vet, gofmt and all tests, next to one MinIO
	@VARVE_BIN='$(CURDIR)/bin/varve' bin/minioserver exec -- $(TEST) $(TESTFLAGS) $(PACKAGES)

test-short: check build ## the same without MinIO, and without slow tests
	@VARVE_BIN='$(CURDIR)/bin/varve' $(TEST) -short $(TESTFLAGS) $(PACKAGES)

# With the tag poison, memory is overwritten when its last holder lets go of it.
race: bin/minioserver ## all tests under the race detector, varve too (needs a C compiler)
	CGO_ENABLED=1 $(BUILD) -race -tags poison -o bin/varve-race ./cmd/varve
	@VARVE_BIN='$(CURDIR)/bin/varve-race' CGO_ENABLED=1 \
		bin/minioserver exec -- $(TEST) -race -tags poison $(TESTFLAGS) $(PACKAGES)

attacks: build bin/minioserver ## damage every kind of object of an archive in every way (two minutes)
	@VARVE_BIN='$(CURDIR)/bin/varve' bin/minioserver exec -- \
		$(GO) test -vet=off -count=1 -timeout 30m ./testenv/integration -run TestEachDamage -integration.damages -v $(TESTFLAGS)

fuzz: ## run each fuzz target for FUZZTIME=60s
	@GO='$(GO)' testenv/fuzz.sh $(FUZZTIME) $(FOLDERS)

torture: minio ## run varve under faults: DURATION=1m SEED=0 ROUNDS=1 TORTUREFLAGS=--cluster
	CGO_ENABLED=0 $(BUILD) -tags poison -o bin/varve-poison ./cmd/varve
	$(GO) run ./testenv/torture --varve bin/varve-poison --duration $(DURATION) --seed $(SEED) --rounds $(ROUNDS) $(TORTUREFLAGS)

failover: build minio ## measure how long clients wait when nodes of a cluster die: FAILOVERFLAGS='--kills 20 --only REGEXP'
	$(GO) run ./testenv/failover --varve bin/varve --json bin/failover.json $(FAILOVERFLAGS)

clients: build bin/minioserver ## install other Kafka clients and Kafka's tools, test varve with them
	@VARVE_BIN='$(CURDIR)/bin/varve' bin/minioserver exec -- \
		$(GO) test -vet=off -count=1 -timeout 60m ./testenv/clients -clients.all -v $(TESTFLAGS)

stores: build ## build other object stores (20 minutes, once), test the drivers and a node on each
	@VARVE_BIN='$(CURDIR)/bin/varve' $(GO) test -vet=off -count=1 -timeout 60m ./testenv/stored -stores.all -v $(TESTFLAGS)

bench: build minio ## measure varve next to the limits of the machine: BENCHFLAGS=
	$(GO) run ./testenv/bench --varve bin/varve --json bin/bench.json $(BENCHFLAGS)

bench-archive: build minio ## measure replays, merging, verification, compression and requests of an archive: BENCHFLAGS=
	$(GO) run ./testenv/bench --varve bin/varve --archive --json bin/bench-archive.json $(BENCHFLAGS)

bench-soak: build minio ## a long run with kills and checks of all records: SIZE=1GB DURATION=5m
	$(GO) run ./testenv/bench --varve bin/varve --soak --fill $(SIZE) --duration $(DURATION) $(BENCHFLAGS)

bench-memory: build ## compare the memory of nodes under load with their budgets: DURATION=10m
	$(GO) run ./testenv/bench --varve bin/varve --memory --duration $(DURATION) $(BENCHFLAGS)

bench-kafka: build minio ## the same for what users look at first, next to Apache Kafka (needs Java, Maven)
	$(GO) run ./testenv/bench --varve bin/varve --table --kafka --runs 5 --json bin/bench-kafka.json $(BENCHFLAGS)

mutants: ## put bugs into the program, see that the simulations find each
	$(GO) test -count=1 -timeout 180m ./testenv/mutants -mutants.all -v

clean: ## delete bin; data in ./varve-data and the built MinIO stay
	rm -rf bin
