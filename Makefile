# Two commands: `make demo` and `make test`. Both set up .venv first; afterwards they work offline.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo loop test lint bench clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## create .venv and install everything the package uses
	@$(PYTHON) scripts/setup_environment.py all

setup-test:
	@$(PYTHON) scripts/setup_environment.py test

demo: setup ## simulate a drive, run the live detector on it, evaluate, open the viewer (ARGS=--no-view: just end)
	@$(BIN)/python -m semlt3d_ros.cli demo $(ARGS)

lint: setup-test ## ruff and mypy
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

test: lint ## lint, then all tests (ARGS="-k name" chooses some)
	$(BIN)/python -m pytest $(ARGS)

loop: setup ## the loop on the robot: drive, record, label, distil, promote, drive again (ARGS=--no-view: just end)
	@$(BIN)/python -m bench.loop $(ARGS)

bench: setup-test ## every benchmark, one table each (but the loop, the hour of bench.soak, and bench.region_head, which needs a training)
	@set -e; for file in bench/*.py bench/*/__main__.py; do \
		name=$$(basename $${file%/__main__.py} .py); case $$name in __init__|loop|soak|region_head) continue;; esac; $(BIN)/python -m bench.$$name $(ARGS); done

clean: ## remove what runs leave behind, .venv included
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
