"""Threads that wait for each other sleep, whichever script starts them."""

import os
import subprocess
import sys

import pytest

CODE = "import os, sys; {}; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"


@pytest.mark.parametrize(
    ("environment", "spins"),
    [
        ({"DS_ACCELERATOR": "cpu"}, "1000"),
        ({"DS_ACCELERATOR": "cpu", "GOMP_SPINCOUNT": "7"}, "7"),
        ({"DS_ACCELERATOR": "cpu", "OMP_WAIT_POLICY": "active"}, "None"),
        ({}, "None"),
    ],
)
def test_the_runtime_says_it_before_torch_is_imported(environment, spins):
    ours = ("DS_ACCELERATOR", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    kept = {key: value for key, value in os.environ.items() if key not in ours}
    code = [sys.executable, "-c", CODE.format("import ftc.runtime")]
    done = subprocess.run(code, env={**kept, **environment}, capture_output=True, text=True)
    assert done.stdout.split() == [spins, "False"], done.stderr
