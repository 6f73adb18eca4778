"""What the scripts of a run directory import: plain arguments in, tensors and files out."""

import logging
import os
from importlib import import_module
from types import ModuleType

# PEFT imports bitsandbytes, which on some CPUs warns of a kernel that nothing here would use.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

# On a CPU, threads that wait for each other spin for microseconds and then sleep, so that a second job takes its
# share and no more. OpenMP reads it when torch is imported, and the processes that this one starts inherit it.
if os.environ.get("DS_ACCELERATOR") == "cpu" and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Where a script that an earlier version compiled finds what it imports from here by name.
MOVED = {
    "adapters": "model",
    "attention": "model",
    "chat": "serve",
    "distributed": "process",
    "evaluate": "train",
    "failed": "train",
    "fused": "model",
    "guards": "train",
    "launch": "train",
    "loaded": "model",
    "metrics": "train",
    "models": "model.download",
    "names": "model",
    "neftune": "model",
    "optimizers": "train",
    "portable": "export",
    "quantized": "model",
    "rope": "model",
    "samples": "train",
    "sequence_parallel": "train",
    "stop": "process",
    "towers": "model",
    "trackers": "train",
    "validation": "checkpoint",
}


def __getattr__(name: str) -> ModuleType:
    if name not in MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = MOVED[name]
    return import_module(f".{room}" if "." in room else f".{room}.{name}", __name__)
