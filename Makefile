# Perennial: `make run` starts everything on this machine, `make test` runs the tests.
SHELL := /bin/bash
unexport PYTHONDONTWRITEBYTECODE
export UV_LINK_MODE ?= copy

# Settings: make run PERENNIAL_UI_PORT=8090 PERENNIAL_SERVER_PORT=8601 PERENNIAL_HOME=/elsewhere
ifdef PERENNIAL_HOME
export PERENNIAL_HOME
endif
ifdef PERENNIAL_UI_PORT
export PERENNIAL_UI_PORT
endif
ifdef PERENNIAL_SERVER_PORT
export PERENNIAL_SERVER_PORT
endif

BIN := .venv/bin
UV := PYTHONPATH=.uv .uv/bin/uv

.PHONY: help run demo test check bench lock clean
help: ## list these commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: .venv/installed ## start Airflow and the model server, and stay until Ctrl-C
	@exec $(BIN)/python -m local up

demo: .venv/installed ## the same, and once round the whole loop; STAY=1 stays up afterwards
	@exec $(BIN)/python -m local demo $(if $(STAY),--stay)

test: .venv/installed-dev ## all tests, in two processes; ARGS="-k name" to choose
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: .venv/installed-dev ## style, types, layers, and every pipeline file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.:plugins $(BIN)/lint-imports
	$(BIN)/python -m pipeline_tasks check

bench: .venv/installed-dev ## one published figure: make bench NAME=overhead
	@test -n "$(NAME)" || { echo "which one? make bench NAME=one of:" \
	  $$(grep -l '^def main' bench/*.py | xargs -n1 basename -s .py | grep -v load); exit 2; }
	@exec env PYTHONPATH=.:plugins $(BIN)/python -m bench.$(NAME)

lock: .uv/bin/uv ## compile requirements*.in to exact versions
	for name in requirements requirements-dev requirements-cluster; do \
	  $(UV) pip compile --universal --generate-hashes --python-version 3.11 --quiet \
	    --custom-compile-command "make lock" $$name.in -o $$name.txt || exit 1; \
	done

clean: ## remove what was installed; var/, with all history, stays
	rm -rf .venv .uv

.uv/bin/uv:
	@python="$$(bin/find-python)" && "$$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target .uv uv

.venv/installed: requirements.txt | .uv/bin/uv
	@echo "installing Perennial into .venv (once, a few minutes) ..."
	@python="$$(bin/find-python)" && { test -x $(BIN)/python || $(UV) venv --quiet --python "$$python" .venv; }
	@$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode -r requirements-dev.txt
	@touch $@
