# The commands of the project; `make help` lists them. Everything they install goes into .venv and .uv here, everything
# the service writes goes under DATA.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= 3.11
HOST ?= 127.0.0.1
PORT ?= 3000
DATA ?= data

# A value as one word of the shell, whatever is in it, and an option with the value of a variable, if it has one: what is
# given on make's command line goes through these.
quoted = '$(subst ','\'',$(1))'
option = $(if $($(1)),$(2) $(call quoted,$($(1))))

UV := $(or $(shell command -v uv),.uv/bin/uv)
BIN := .venv/bin

export CROSSMODAL_DATA ?= $(DATA)
# abspath would take a space for the end of a path.
export BENTOML_HOME ?= $(if $(filter /%,$(firstword $(DATA))),,$(CURDIR)/)$(DATA)/bentoml
export BENTOML_DO_NOT_TRACK := True
# Idle threads of the model sleep instead of spinning on the cores that decode and answer.
export OMP_WAIT_POLICY ?= passive
# Some library sets the C locale as it goes along; texts are UTF-8 all the same.
export PYTHONUTF8 := 1

SERVE = $(BIN)/bentoml serve service:CrossModalSearch --host $(call quoted,$(HOST)) --port $(call quoted,$(PORT))

# What the bundled model is calibrated on in int8; others need what they will search.
ifeq ($(filter-out tiny,$(MODEL)),)
PICTURES ?= samples/images
TEXTS ?= samples/captions.jsonl
endif

# Commands run by hand on a machine use the bundled model, which needs no network; a deployed bento, and a plain
# `bentoml serve`, use the service's own default, ViT-B-32.
demo serve export: export CROSSMODAL_MODEL ?= tiny
demo: export CROSSMODAL_SAMPLES ?= samples

.PHONY: help
help: ## say what each command does
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{printf "make %-12s %s\n", $$1, $$2}'

# --- install ---------------------------------------------------------------------------------------------------------

.uv/bin/uv: requirements/uv.txt
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet --require-hashes -r $<
	touch $@

.venv/bin/python: | $(filter .uv/bin/uv,$(UV))
	$(UV) venv --quiet --allow-existing --python $(call quoted,$(PYTHON)) .venv

.venv/.runtime: requirements/runtime.txt | .venv/bin/python
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r $<
	touch $@

.venv/.int8: requirements/int8.txt | .venv/bin/python
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r $<
	touch $@

.venv/.dev: requirements/dev.txt | .venv/bin/python
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r $<
	touch $@ .venv/.runtime .venv/.int8

.PHONY: install
install: .venv/.runtime ## install what the service needs into .venv

.PHONY: system-packages
system-packages:
	@tools/system_packages.sh

.PHONY: lock
lock: | $(filter .uv/bin/uv,$(UV)) ## write requirements/*.txt anew from requirements/*.in
	for name in uv runtime slim int8 dev; do \
		$(UV) pip compile --quiet --generate-hashes --no-header --python-version 3.11 requirements/$$name.in -o requirements/$$name.txt; \
	done

# --- run -------------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: install ## serve the bundled model with the sample gallery on PORT (default 3000)
	@mkdir -p -- $(call quoted,$(BENTOML_HOME))
	@echo "the page, in some seconds:" $(call quoted,http://$(HOST):$(PORT)/ui/)
	exec $(SERVE)

.PHONY: serve
serve: install ## serve on PORT (default 3000) what DATA holds
	@mkdir -p -- $(call quoted,$(BENTOML_HOME))
	exec $(SERVE)

.PHONY: export
export: install $(if $(INT8),.venv/.int8) ## export MODEL (default tiny) for OpenVINO, which serve then uses on CPUs; OUT=FOLDER puts it elsewhere; INT8=1: in int8, too (README)
	$(BIN)/python -m indexer export $(call option,MODEL,--model) $(call option,OUT,--out) \
		$(if $(INT8),--int8 $(call option,PICTURES,--pictures) $(call option,TEXTS,--texts))

.PHONY: bento
bento: install ## build a bento, the deployable archive; MODEL=SPEC (FORM, REVISION, SHA256) bakes a model in, SLIM=1 leaves PyTorch out
	@mkdir -p -- $(call quoted,$(BENTOML_HOME))
	PATH="$(dir $(abspath $(UV))):$$PATH" $(BIN)/python -m tools.bento $(call option,MODEL,--model) $(call option,FORM,--form) \
		$(call option,REVISION,--revision) $(call option,SHA256,--sha256) $(if $(SLIM),--slim) \
		$(call option,VERSION,--version)

.PHONY: image
image: ## make the image IMAGE of the bento in the folder BENTO, with ENGINE (default docker)
	@[[ -n $(call quoted,$(BENTO)) && -n $(call quoted,$(IMAGE)) ]] || { echo "make image BENTO=FOLDER IMAGE=NAME:TAG: make bento says which folder" >&2; exit 2; }
	$(call quoted,$(or $(ENGINE),docker)) build --file $(call quoted,$(BENTO)/src/deploy/Dockerfile) --tag $(call quoted,$(IMAGE)) $(call quoted,$(BENTO))

# --- check -----------------------------------------------------------------------------------------------------------

.PHONY: test
test: .venv/.dev system-packages ## run the tests, as CI does
	$(BIN)/python -m pytest -m "not slow and not faults" --numprocesses 2 --dist loadfile --cov --cov-report=term --cov-fail-under=90

.PHONY: test-again
test-again: .venv/.dev system-packages ## run those tests again that failed last
	$(BIN)/python -m pytest -m "not slow and not faults" --last-failed --last-failed-no-failures none

.PHONY: test-slow
test-slow: .venv/.dev system-packages ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

.PHONY: test-bento
test-bento: .venv/.dev system-packages ## build bentos, carry them elsewhere, install what is locked in them, and serve them
	$(BIN)/python -m pytest tests/bento

.PHONY: test-faults
test-faults: .venv/.dev system-packages ## kill, stop and starve real servers, and look what they answer
	$(BIN)/python -m pytest -m "faults and not slow" --numprocesses 2 --dist worksteal --durations=10 \
		$(foreach word,$(AGAIN),$(call quoted,$(word)))

.PHONY: lint
lint: .venv/.dev ## check style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: .venv/.dev ## format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: eval
eval: .venv/.dev system-packages ## measure what the service finds on the bundled model's held-out scenes
	$(BIN)/python -m tools.evaluate --require

.PHONY: loadtest
loadtest: .venv/.dev ## load the service (MIX, SHAPE, FOR seconds, USERS, URL) and hold what came against loadtests/slo.yaml
	$(BIN)/python -m loadtests run $(call option,MIX,--mix) $(call option,SHAPE,--shape) $(call option,FOR,--seconds) \
		$(call option,USERS,--users) $(call option,URL,--url)

.PHONY: knee
knee: .venv/.dev ## find how many requests in flight fill the service: what autoscalers need to know
	$(BIN)/python -m loadtests knee $(call option,MIX,--mix) $(call option,URL,--url)

.PHONY: autoscale
autoscale: .venv/.dev system-packages ## have encoders come and go with the load behind HAProxy (PHASES, RATE, SPEED), replace all and kill one
	$(BIN)/python -m loadtests autoscale $(call option,PHASES,--phases) $(call option,RATE,--rate) $(call option,SPEED,--speed)

.PHONY: plan
plan: .venv/.dev ## say how many replicas RATE items a second take, each SERVICE ms (of BATCH at a time), SPARE more of them, and what that costs at PRICE an hour
	@$(BIN)/python -m loadtests plan $(call option,RATE,--rate) $(call option,SERVICE,--service-ms) $(call option,BATCH,--batch) $(call option,PRICE,--price) $(call option,SPARE,--spare)

.PHONY: bench
bench: .venv/.dev ## measure the service against its own ceiling, in one run
	$(BIN)/python -m benchmarks.service

.PHONY: bench-turns
bench-turns: .venv/.dev ## measure the same in turns of seconds, for machines that others use as well
	$(BIN)/python -m benchmarks.turns

.PHONY: bench-cold-start
bench-cold-start: .venv/.dev ## measure how long the service takes to be ready, beside a bare process that loads the same
	$(BIN)/python -m benchmarks.cold_start

.PHONY: bench-batchers
bench-batchers: .venv/.dev ## measure our batcher against BentoML's, with 1 to 128 clients
	$(BIN)/python -m benchmarks.batchers

.PHONY: bench-gpu
bench-gpu: .venv/.dev ## measure a GPU on the model of ARCH (default ViT-B-32), and say what binds
	$(BIN)/python -m benchmarks.gpu --arch $(call quoted,$(or $(ARCH),ViT-B-32))

.PHONY: bench-duplicates
bench-duplicates: .venv/.dev ## measure what a search for duplicates costs, in 10,000 and 100,000 items
	$(BIN)/python -m benchmarks.duplicates

.PHONY: bench-robustness
bench-robustness: .venv/.dev ## measure how the service bears bombs, floods, kills and forged URLs
	$(BIN)/python -m benchmarks.robustness
