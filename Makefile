# Two commands do all set-up: `make scan VIDEO=clip.mp4` and `make test`.
PYTHON ?= python3
CORE := .venv-core
DEV := .venv
# Python compiles what it uses; all that is installed would take a minute more.
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
SAMPLES := examples/portrait.mp4 examples/portrait-forged.mp4

.PHONY: scan test lint format bench fuzz clean

$(CORE)/.installed: pyproject.toml
	$(PYTHON) -m venv $(CORE)
	$(CORE)/bin/python $(INSTALL) --editable .
	@touch $@

$(DEV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python $(INSTALL) --editable ".[dev]"
	@touch $@

scan: $(CORE)/.installed  # 1 means FAKE: an answer, no error
	@$(CORE)/bin/facetell scan $(if $(VIDEO),"$(VIDEO)",--exit-zero $(SAMPLES)) || { code=$$?; [ $$code = 1 ] || exit $$code; }

test: lint
	$(DEV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lint: $(DEV)/.installed
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/pyright --threads

format: $(DEV)/.installed
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

bench: $(DEV)/.installed
	$(DEV)/bin/python benchmarks/scan.py

fuzz: $(DEV)/.installed
	$(DEV)/bin/python -m tests.hostile 2400

clean:
	rm -rf $(CORE) $(DEV) build dist .pytest_cache .ruff_cache
