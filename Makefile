# Every target makes what it needs first. `make help` lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help env demo test lint build shell pins clean

export PYTHON

help: ## say what the targets do
	@echo "usage: make TARGET [VARIABLE=value ...]"
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do \
	    printf '  %-7s %s\n' "$$name" "$$text"; done

env: ## make the environment in .venv and the messages in install/ (PYTHON=interpreter)
	@./tools/make-env

demo: env ## play a drive to the node and show what it finds (INPUT=video, folder or bag; OUTPUT=folder)
	@./tools/env-run python -m demo $(if $(INPUT),--input "$$INPUT") $(if $(OUTPUT),--output "$$OUTPUT")

test: env ## run all tests, some at a time (TESTS="paths and options for pytest")
	@./tools/env-run python -m pytest -n auto --maxprocesses 4 --dist worksteal $(TESTS)

lint: env ## ruff, mypy, and who may import whom
	@./tools/env-run python -m ruff check .
	@./tools/env-run python -m mypy
	@./tools/env-run lint-imports

build: env ## build the package as its users do (colcon, colcon --symlink-install, wheel) and try it
	@./tools/env-run ./tools/build-packages

shell: env ## a shell in the environment
	@echo "lane_sad, python -m training, python -m benchmark.... work here; exit leaves"
	@./tools/env-run $${SHELL:-/bin/sh}

pins: env ## compile the direct needs of pyproject.toml and requirements.in to requirements.txt
	@./tools/env-run uv pip compile --quiet --universal --python-version 3.10 \
	    --extra training --extra openvino --extra onnx --extra dev --no-annotate \
	    --custom-compile-command "make pins" --output-file requirements.txt \
	    pyproject.toml requirements.in

clean: ## remove the environment and everything built
	rm -rf .venv .venv.lock build install log dist *.egg-info
