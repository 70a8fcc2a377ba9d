# make demo    see it work: builds what is missing, plays a bag into the real node, writes out/demo/
# make test    all tests, live graphs included
# make soak    the long tests: every fault again, longer and by twos, ROUNDS times; then an hour of one bag
# make lint    ruff, mypy
# make bench   the measurements in benchmarks/
# make venv    only the environment (.venv: library, ROS 2 wheels, messages)
# make native  the CPU kernels alone, into the source tree, while working on them

PYTHON ?= python3
BAG ?= samples/room
OUT ?= out/demo
ROUNDS ?= 1
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find ws3d_ros native msg srv compat cmake launch config -type f \
             -not -name '*.pyc' -not -name '*.so') \
           pyproject.toml setup.py CMakeLists.txt package.xml

.PHONY: demo test soak lint bench venv native clean

venv: $(VENV)/.installed

# The slow part, third-party packages, apart from our own package: the second run takes seconds.
$(VENV)/.requirements: requirements-ros.txt constraints.txt pyproject.toml scripts/torch_pair.py
	PYTHON=$(PYTHON) scripts/prerequisites.sh
	test -x $(BIN)/python || $(PYTHON) -m venv \
	  $$($(PYTHON) -c 'import torch' 2>/dev/null && echo --system-site-packages) $(VENV)
	$(BIN)/python scripts/torch_pair.py > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on \
	  -c $(VENV)/constraints.txt -r requirements-ros.txt \
	  $$($(BIN)/python scripts/dependencies.py vlm scenes clouds viewer train dev)
	touch $@

$(VENV)/.installed: $(VENV)/.requirements $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
	  -c $(VENV)/constraints.txt .
	touch $@

demo: $(VENV)/.installed
	$(BIN)/ws3d demo --bag "$(BAG)" --out "$(OUT)"

test: $(VENV)/.installed
	ROS_PYTHON_CHECK_FIELDS=1 OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=2000 $(BIN)/python -m pytest $(PYTEST_ARGS)

soak: $(VENV)/.installed
	WS3D_SOAK=$(ROUNDS) ROS_PYTHON_CHECK_FIELDS=1 OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=2000 \
	  $(BIN)/python -m pytest test/faults $(PYTEST_ARGS)
	OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=2000 $(BIN)/python benchmarks/soak.py

lint: $(VENV)/.requirements
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/run_all.py

native:
	cmake -S native -B build/native
	cmake --build build/native
	cmake --install build/native --prefix .

clean:
	rm -rf $(VENV) build install log out
