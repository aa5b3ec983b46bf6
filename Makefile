# Needs Go, git, bash and, for the race detector, a C compiler; everything else is
# pinned in go.mod or here.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

SBOM := go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 \
	app -json -licenses -noserial -main cmd/postern
CONTAINER ?= docker

# The state of the vulnerability database that the code is checked against; empty
# for the newest.
VULNDB ?=

# How long each fuzz target runs.
FUZZTIME ?= 20s

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Show in one process what Postern does
	go run ./cmd/postern demo

.PHONY: build
build: ## Build bin/postern
	go build -trimpath -o bin/postern ./cmd/postern

.PHONY: release
release: vulncheck ## Build what is released into bin/release: static, reproducible, with licences and SBOM
	rm -rf bin/release
	.ci/build bin/release
	$(SBOM) -output bin/release/postern.cdx.json .
	cd bin/release && sha256sum postern LICENSES postern.cdx.json > SHA256SUMS

.PHONY: image
image: ## Build the container image postern, with CONTAINER (docker)
	$(CONTAINER) build --file deploy/Dockerfile --tag postern .

.PHONY: test
test: mailservers client chromium ## Run all tests, and install what they need where it is missing
	go test -race -timeout=30m ./...

# Flags of the proofs, such as -kills=20 -accounts=10; PROOF is which to run.
SOAK ?=
PROOF ?= .

.PHONY: soak
soak: mailservers chromium ## Run the long form of the proofs, one after the other: hours
	go test ./cmd/postern -count=1 -v -timeout=0 -parallel=1 -run '^TestProof.*$(PROOF)' -long $(SOAK)

.PHONY: lint
lint: proto-deps ## Check the code, its form, the contract and go.mod
	go vet ./...
	$(GOLANGCI_LINT) run
	go mod tidy -diff
	go mod verify
	go tool buf format --diff --exit-code proto
	go tool buf lint
	.ci/breaking

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities that the code can reach
	.ci/vulncheck $(VULNDB)

.PHONY: fmt
fmt: ## Bring code and contract into form
	$(GOLANGCI_LINT) fmt
	go tool buf format --write proto

.PHONY: generate
generate: proto-deps ## Generate gen/ from proto/
	go tool buf generate
	go tool buf build proto --as-file-descriptor-set --output bin/openapi/descriptors.binpb
	go tool openapiv3-merge bin/openapi/postern/v1/*.openapi.json > bin/openapi/merged.json
	go run ./internal/apidoc -descriptors bin/openapi/descriptors.binpb \
		-patch proto/openapi.patch.json -out gen/openapi bin/openapi/merged.json

.PHONY: bench
bench: mailservers ## Measure, each figure beside a floor measured in the same run
	go test -run '^$$' -bench . ./...

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

.PHONY: mailservers
mailservers:
	@.ci/install-mailservers

.PHONY: client
client:
	@.ci/install-client

.PHONY: chromium
chromium:
	@.ci/install-chromium

# The proto files that ours import, for buf to compile against.
.PHONY: proto-deps
proto-deps:
	go run ./internal/protodeps .proto-deps
