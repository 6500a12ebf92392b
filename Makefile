# Ottla. "make run" starts everything in one process; "make test" passes the tests. Both need Go and nothing else.
GO ?= go
BUF := $(GO) run github.com/bufbuild/buf/cmd/buf@v1.57.2
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.7.0
GENBIN := $(CURDIR)/bin/gen
FUZZTIME ?= 10s
TOTAL ?= 1000000
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: bench-compaction bench-log sim torture ensemble kill-rounds build run test race lint check bench bench-zookeeper bench-failover bench-replication fuzz proto fix e2e

build: ## build bin/ottla, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ottla ./cmd/ottla

run: build ## start embedded ZooKeeper and one broker in one process; options in ARGS="--port 9093 …"
	@exec bin/ottla quickstart $(ARGS)

test: ## all tests; those that need Apache ZooKeeper are skipped where it is not installed
	$(GO) test ./...

# Packages whose tests use testing/synctest, but for the one below, which takes as long as all others together and is tested in four processes.
BUBBLES = $$(grep -rl --include='*_test.go' '"testing/synctest"' . | xargs -n1 dirname | sort -u | grep -v /brokertest$$)
race: ## all tests with the race detector
	@# With more than one processor the race detector of Go 1.26 crashes now and then in a bubble of testing/synctest: goroutines that run timers of one bubble at the
	@# same time use one race context, and nothing keeps them apart (runtime/time.go, unlockAndRun).
	$(GO) test -race -timeout 20m $$($(GO) list ./... | sed "s|^$$($(GO) list -m)|.|" | grep -vxF "$(BUBBLES)" | grep -v /brokertest$$)
	$(GO) test -race -cpu 1 -timeout 20m $(BUBBLES)
	printf '%s\n' '-run ^TestA[A-K]' '-run ^TestA[^A-K]' '-run ^Test[B-S]' '-skip ^Test[A-S]' | xargs -P 2 -I TESTS sh -fc '$(GO) test -race -cpu 1 -timeout 20m TESTS ./broker/brokertest'

lint: ## formatting, vet, staticcheck, protocol lint and the house rules
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not gofmt-ed:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...
	cd proto && $(BUF) lint && $(BUF) format -d --exit-code
	$(GO) test ./cmd/houserules

check: lint proto race ## what CI runs: lint, generated code is current, race
	@git diff --exit-code -- proto/ottlapb || { echo "generated code is stale: run make proto and commit"; exit 1; }

bench: build ## compare with a bare gRPC stream and with franz-go against kfake, in one run; then ten starts
	$(GO) build -o bin/ottla-bench ./cmd/ottla-bench
	bin/ottla-bench $(BENCHFLAGS)
	bin/ottla-bench -starts 10

bench-replication: build ## compare acks=all on three brokers with acks=1 on one of them, in one run
	$(GO) build -o bin/ottla-bench ./cmd/ottla-bench
	bin/ottla-bench -replication -rounds 5 $(BENCHFLAGS)

bench-compaction: ## compact ten million records of a million keys, plain and compressed, on a real disk: time, peak memory, bytes written
	OTTLA_COMPACT_RECORDS=10000000 OTTLA_COMPACT_KEYS=1000000 $(GO) test -run '^$$' -bench BenchmarkCompaction -benchtime 1x -timeout 30m ./broker/commitlog

bench-log: ## appends next to the bare write path, reads in segments of a gibibyte, opening 2,000 partitions
	$(GO) test -run '^$$' -bench 'BenchmarkAppend|BenchmarkRead|BenchmarkOpenManyPartitions' -benchmem ./broker/commitlog

bench-zookeeper: build ## compare the embedded ZooKeeper with Apache's, in one run; needs Java and Debian's package zookeeper
	$(GO) run ./cmd/ottla-bench -zookeeper -rounds 5

bench-failover: build ## how long failovers of three brokers take, 30 times each fault (half an hour); then the controller's with many partitions
	$(GO) run ./cmd/ottla-bench -failover -runs 30 -failover-partitions 2000,10000

kill-rounds: ## 50 rounds of kill -9 under load on a real disk, checked after each
	OTTLA_E2E_ROUNDS=50 $(GO) test -count=1 -run TestRoundsOfKillNine -v ./cmd/e2e

TORTURE ?= 30m
torture: ## three brokers and ZooKeeper as processes, killed, paused, stopped and cut from one another for TORTURE; as root, or without the cuts
	OTTLA_TORTURE=$(TORTURE) $(GO) test -count=1 -timeout 0 -run 'TestTorture$$' -v ./cmd/e2e

RUNS ?= 10
ensemble: ## what brokers make of an ensemble of Apache's ZooKeeper whose servers are killed and stopped, RUNS times; needs Java and Debian's package zookeeper
	OTTLA_REQUIRE_ZOOKEEPER=1 OTTLA_E2E_ENSEMBLE=1 $(GO) test -count=$(RUNS) -timeout 0 -run 'TestEnsemble$$' -v ./cmd/e2e

sim: ## simulate clusters with faults for TOTAL steps, from seed FROM on; SEED and STEPS tell all that happens to one of them
	OTTLA_SIM_SEED=$(SEED) OTTLA_SIM_STEPS=$(STEPS) OTTLA_SIM_FROM=$(FROM) OTTLA_SIM_TOTAL=$(TOTAL) $(GO) test -count=1 -run TestClustersKeepTheirPromises -v ./controller/sim

fuzz: ## run every fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz' || true); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
	  done; done

proto: ## regenerate proto/ottlapb
	@mkdir -p $(GENBIN)
	GOBIN=$(GENBIN) $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
	GOBIN=$(GENBIN) $(GO) install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
	cd proto && PATH=$(GENBIN):$$PATH $(BUF) generate

fix: ## format everything
	gofmt -w $$(git ls-files '*.go')
	cd proto && $(BUF) format -w

e2e: ## real processes on a real disk; a million lines through the console tools, undisturbed and with kill -9 in mid-load; torture; an ensemble of ZooKeeper, where it is installed
	OTTLA_E2E_LINES=1000000 OTTLA_TORTURE=75s OTTLA_E2E_ENSEMBLE=1 $(GO) test -count=1 -timeout 30m ./cmd/e2e
