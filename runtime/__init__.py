"""What the scripts of a run directory import: plain arguments in, tensors and files out."""

import logging
import os

# PEFT imports bitsandbytes, which on some CPUs warns of a kernel that nothing here would use.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

# On a CPU, threads that wait for each other spin for microseconds and then sleep, so that a second job takes its
# share and no more. OpenMP reads it when torch is imported, and the processes that this one starts inherit it.
if os.environ.get("DS_ACCELERATOR") == "cpu" and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
