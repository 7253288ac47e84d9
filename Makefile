# The few verbs that a user or a contributor needs. Each may be run again at once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PORTRAIT = $$($(BIN)/python -c "import skimage.data as d, pathlib; print(pathlib.Path(d.__file__).with_name('astronaut.png'))")

.PHONY: help demo test check system lint types bindings nvidia fuzz kills soak lowest lowest-tools audit train models baseline bench runtime-page bulk-page page-types onnxruntime-web clean
help:
	@echo "make demo    install, and tell the emotion on a photo"
	@echo "make test    install, lint, check types, run the tests"
	@echo "make check   the same, and the long forms: 50 kills of each command, 2,000 inputs for each"
	@echo "             function that takes data, 10,000 corruptions, lowest versions, a minute of soak"
	@echo "             for each backend"
	@echo "make system  install ffmpeg, chromium and an RTSP server for tests (Debian, as root)"
	@echo "make fuzz    200,000 inputs for each function that takes data; by far the longest"
	@echo "make nvidia  NVIDIA's own parser and builder of TensorRT plans, fetched into .nvidia (450 MB):"
	@echo "             our graphs parse and build, without a GPU"
	@echo "make kills   the 50 kills of each command alone"
	@echo "make lowest  the runtime's tests with the oldest dependencies that are allowed"
	@echo "make lowest-tools   the same for all packages and extras (torch: gigabytes)"
	@echo "make soak    an hour of load for each artifact and backend"
	@echo "make audit   known vulnerabilities of every dependency; asks over the network"
	@echo "make bench   measure speed and accuracy, beside what else there is (DATA=fer2013.zip)"
	@echo "make runtime-page   measure what the runtime adds to its engines"
	@echo "make live-page   measure whole frames, cameras, streams, the page and its server"
	@echo "make bulk-page   run the example with Ray, and time it"
	@echo "make train   the packaged models' trainings (DATA=fer2013.zip VOTES=ferplus_votes.csv)"
	@echo "make models   export, measure and draw what was trained (DATA=...)"
	@echo "make baseline   record what the regression suite compares with (DATA=...)"
	@echo "make onnxruntime-web   the WebAssembly engine of the page, anew from npm, by its hashes"
	@echo "make clean   remove the environment and what was built"

demo: $(VENV)/demo.installed
	$(BIN)/fer-edge predict "$(PORTRAIT)" --annotate demo

# A process for each core, with one thread of torch in each. The tests of a file share what they make;
# one that crashes ends the run.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile --max-worker-restart 0

# It sends Ctrl-C to the process of the tests, which pytest-xdist's do not survive.
CTRL_C := $(BIN)/python -m pytest -q tests/fer_bench/test_launching.py -k ctrl_c

test: system lint types page-types bindings
	$(CTRL_C)
	$(PYTEST)

check: system lint types page-types bindings nvidia
	$(CTRL_C)
	FER_KILLS=50 FER_FUZZ_EXAMPLES=2000 $(PYTEST) --long

# What tests of videos, of streams and of the page need beside Python. Where it cannot be installed
# those tests skip and say what they lack.
SYSTEM := ffmpeg:/usr/bin/ffmpeg chromium:/usr/bin/chromium \
  gir1.2-gst-rtsp-server-1.0:/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib \
  python3-gi:/usr/lib/python3/dist-packages/gi \
  gstreamer1.0-plugins-good:/usr/lib/*/gstreamer-1.0/libgstrtp.so
system:
	@missing=$$(for it in $(SYSTEM); do ls $${it#*:} > /dev/null 2>&1 || echo "$${it%%:*}"; done); \
	[ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -qq -y \
	    --no-install-recommends $$missing > /dev/null; } || \
	  echo "not installed, so that their tests skip:" $$missing

# The page's modules are plain JavaScript; their types stand in comments.
TYPESCRIPT := typescript@7.0.2
page-types:
	@if command -v npm > /dev/null; then \
	  [ -x $(VENV)/npm/node_modules/.bin/tsc ] || npm install --silent --no-audit --no-fund \
	    --prefix $(VENV)/npm $(TYPESCRIPT); \
	  $(VENV)/npm/node_modules/.bin/tsc -p fer_edge/page/static; \
	else echo "make page-types: skipped, there is no npm here to check the page's types with"; fi

# What the page runs of onnxruntime-web, and ONNX Runtime's licences from the wheel of that release.
ORT_WEB := 1.30.0
ORT_FILES := ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm
onnxruntime-web: | $(BIN)/pip
	@set -e; out=$(CURDIR)/fer_edge/page/static/onnxruntime; work=$$(mktemp -d); \
	trap 'rm -rf "$$work"' EXIT; cd "$$work"; \
	npm pack --silent onnxruntime-web@$(ORT_WEB) > /dev/null; tar xzf onnxruntime-web-*.tgz; \
	$(abspath $(BIN))/pip download --quiet --no-deps onnxruntime==$(ORT_WEB); \
	unzip -q onnxruntime-$(ORT_WEB)-*.whl onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt; \
	mv $(ORT_FILES:%=package/dist/%) .; mv onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt .; \
	sha256sum -c --quiet "$$out/SHA256SUMS"; \
	gzip -9n ort-wasm-simd-threaded.wasm; \
	cp $(ORT_FILES:.wasm=.wasm.gz) LICENSE ThirdPartyNotices.txt "$$out"; \
	echo "onnxruntime-web $(ORT_WEB) is in $$out"

# Tests fetch nothing: the bindings of TensorRT that doubles stand on are fetched here, once.
bindings: $(VENV)/dev.installed
	@PYTHONPATH=tests/support $(BIN)/python -m tensorrt_double.bindings

# NVIDIA's wheels have their own licence: nothing of .nvidia is committed or shipped.
nvidia: $(VENV)/dev.installed
	@PYTHONPATH=tests/support $(BIN)/python -m nvidia_builder .nvidia \
	  $(BIN)/python -m pytest -q tests/fer_export/tensorrt tests/fer_edge/backends/test_tensorrt*.py

# Verbs of their own for each long form (SECURITY.md, docs/reliability.md); check has all but these
# 200,000 inputs and this hour.
fuzz: $(VENV)/dev.installed
	FER_FUZZ_EXAMPLES=200000 $(BIN)/python -m pytest -q tests/fuzz

kills: $(VENV)/dev.installed
	FER_KILLS=50 $(BIN)/python -m pytest -q --long tests/faults

soak: $(VENV)/dev.installed
	$(BIN)/fer-bench soak default $(WEIGHTS).safetensors --minutes 60 --json runs/soak.json; \
	  code=$$?; $(PAGES) soak runs/soak.json; exit $$code

# Measure, and write into this project's own pages; in no wheel.
PAGES := PYTHONPATH=benchmarks:tests/support $(BIN)/python -m pages

LOWEST := $(BIN)/python -m pytest -q --long tests/packaging/test_lowest_versions.py

lowest: $(VENV)/dev.installed
	$(LOWEST) -k "not tools"

lowest-tools: $(VENV)/dev.installed
	$(LOWEST) -k tools

audit: $(VENV)/dev.installed
	@frozen=$$(mktemp) && trap 'rm -f "$$frozen"' EXIT && \
	  $(BIN)/pip freeze --exclude-editable > "$$frozen" && \
	  $(BIN)/pip-audit --requirement "$$frozen" --no-deps --strict

lint: $(VENV)/dev.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet

types: $(VENV)/dev.installed
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

# The packaged models: train (hours on a CPU), then export, measure and draw them.
# Each has the name of its folder, then that of its weights.
MODELS := default:dense mobilenet:mobilenet vit:vit
WEIGHTS := train/weights/dense
RUNS := runs/cpu
need_data = $(if $(DATA),,$(error say where FER2013 is: make $@ DATA=fer2013.zip))
need_votes = $(if $(VOTES),,$(error say where the votes of FER+ are: make $@ DATA=fer2013.zip VOTES=ferplus_votes.csv))

train: $(VENV)/dev.installed
	$(need_data)$(need_votes)$(BIN)/fer-train campaign --plan train/campaigns/cpu.toml --data $(DATA) --votes $(VOTES) \
	  --out $(RUNS) --compile
	$(BIN)/python train/release/results.py $(RUNS)
	for name in mobilenet dense-4 vit; do \
	  $(BIN)/python train/release/promote.py $(RUNS)/$$name --data $(DATA) --weights train/weights; done

models: $(VENV)/dev.installed
	$(need_data)set -e; for it in $(MODELS); do $(BIN)/fer-export --data $(DATA) --force --half-weights --crops 3589 \
	  --weights train/weights/$${it#*:}.safetensors --out fer_edge/models/$${it%%:*} \
	  --target onnx --target onnx-int8 --target openvino-int8; done
	$(PAGES) model-card --data $(DATA)
	$(BIN)/fer-edge predict "$(PORTRAIT)" --annotate demo
	cp demo/astronaut.faces.png docs/demo.png

# What the regression suite holds the packaged models against; read the diff.
baseline: $(VENV)/dev.installed
	$(need_data)set -e; for it in $(MODELS); do $(BIN)/python -m pytest -q docs --fer-model=$${it%%:*} --fer-data=$(DATA) \
	  --fer-baseline=tests/fer_bench/regression/$${it%%:*}.json --fer-update-baseline; done

# The figures and the plot of docs/runtime.md.
runtime-page: $(VENV)/dev.installed
	$(PAGES) smoothing
	$(PAGES) overhead --backend all --threads 1 --write docs/runtime.md --check

# The figures of docs/live.md and docs/page.md, and a picture; wants an idle machine with make
# system's programs, and 20 minutes.
live-page: system $(VENV)/dev.installed
	$(PAGES) live --write docs/live.md --readme README.md --timeline docs/timeline.png \
	  --losses 100 --slow-seconds 600
	$(PAGES) page --write docs/page.md

# In an environment of its own, as Ray is 500 MB and serves this page alone.
bulk-page: $(VENV)/dev.installed
	python3 -m venv $(VENV)/ray
	$(VENV)/ray/bin/pip install --quiet 'ray[data]' .
	$(PAGES) bulk --python $(VENV)/ray/bin/python

# Needs a machine with nothing else to do; takes a quarter of an hour.
bench: $(VENV)/dev.installed
	$(need_data)$(BIN)/fer-bench peers install fer
	$(PAGES) benchmarks --data $(DATA) --readme README.md --strict

$(VENV)/%.installed: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# Debian splits venv off from python3
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make needs Python 3.11 or later (the runtime alone 3.10): make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -q -y python3-venv; } \
	  || { echo "this Python has no venv; install it: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) demo build dist/*.whl dist/*.tar.gz *.egg-info .mypy_cache .pytest_cache .ruff_cache
