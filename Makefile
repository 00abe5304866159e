# Everything a developer runs. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X github.com/hopgate/hopgate/cmd/internal/process.version=$(VERSION)
GO ?= go
FUZZTIME ?= 60s

.PHONY: help build run test e2e soak check generate race fuzz bench clean

help: ## this list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## bin/hopgate
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/hopgate ./cmd/hopgate

run: build ## one process with everything and a demo server on localhost:4000
	./bin/hopgate up --demo

test: ## every test that needs only Go: no root, no network, minutes
	$(GO) vet ./...
	$(GO) test -timeout 5m ./...

race: ## the same with the race detector
	$(GO) test -race -timeout 15m ./...

e2e: ## journeys against the real things: npm clients and servers, conformance suite, Jaeger, an etcd cluster (Linux, root; installs them)
	.ci/e2e

soak: ## the long forms of the twenty failures it survives for SOAK (10m, about 20 in all): deploy/handbook/survive.md
	.ci/soak

check: ## formatting, vet, lint, protos, generated code
	.ci/check

generate: ## Go code and Swagger from the protos
	.ci/generate

fuzz: ## every fuzz target for FUZZTIME each (60s)
	.ci/fuzz $(FUZZTIME)

bench: ## end-to-end benchmark against direct and nginx (Debian: wrk, nginx)
	.ci/bench

clean: ## what the build made
	rm -rf bin
