"""The GPUs that a run can be compiled for: by name, or by architecture and memory."""

from __future__ import annotations

import re
from typing import NamedTuple


class Accelerator(NamedTuple):
    """A GPU: memory in GB, whether it computes in bfloat16 (NVIDIA Ampere and newer), and TFLOPS.

    `tflops`: the peak of dense 16-bit products summed in float32, by NVIDIA's data sheets and (RTX, L4,
    L40S) architecture papers, of the SXM form where there are several. Data sheets often give twice as
    much, which is with half of the weights zero. None where it is not known: without hardware.peak_tflops
    there is no MFU then.
    """

    memory: int
    bfloat16: bool
    tflops: float | None = None


ACCELERATORS = {
    "A10-24G": Accelerator(24, True, 125.0),
    "A100-40G": Accelerator(40, True, 312.0),
    "A100-80G": Accelerator(80, True, 312.0),
    "A6000-48G": Accelerator(48, True, 154.8),
    "B200-180G": Accelerator(180, True, 2250.0),
    "H100-80G": Accelerator(80, True, 989.4),
    "H200-141G": Accelerator(141, True, 989.4),
    "L4-24G": Accelerator(24, True, 121.0),
    "L40S-48G": Accelerator(48, True, 362.0),
    "RTX3090-24G": Accelerator(24, True, 71.0),
    "RTX4090-24G": Accelerator(24, True, 165.2),
    "RTX5090-32G": Accelerator(32, True, 209.5),
    "RTX2080Ti-11G": Accelerator(11, False, 53.8),
    "T4-16G": Accelerator(16, False, 65.0),
    "V100-16G": Accelerator(16, False, 125.0),
    "V100-32G": Accelerator(32, False, 125.0),
}

# NVIDIA's architectures, oldest first, and whether they compute in bfloat16. Older ones have no tensor cores.
ARCHITECTURES = {
    "volta": False,
    "turing": False,
    "ampere": True,
    "ada": True,
    "hopper": True,
    "blackwell": True,
}
GENERIC = re.compile(r"(?P<architecture>[a-z]+)-(?P<memory>[1-9][0-9]{0,3})G")
MEMORY = re.compile(r"[-_ ](\d{1,3})$|(\d+) ?GI?B?$")
MAKES = re.compile(r"NVIDIA|TESLA|GEFORCE|RTX|PCIE|SXM\d?|HBM\d?|[^A-Z0-9]")


def find_accelerator(name: str | None) -> Accelerator | None:
    """A GPU that ftc knows by its name, or any other by architecture and memory, as in "ada-16G"."""
    match = GENERIC.fullmatch(name or "")
    if match and match["architecture"] in ARCHITECTURES:
        return Accelerator(int(match["memory"]), ARCHITECTURES[match["architecture"]])
    return ACCELERATORS.get(name or "")


def same_model(name: str) -> list[str]:
    """The names that "a100", "NVIDIA A100-SXM4-80GB" or "A100-64G" may mean: of the same model, with its
    memory if there is such a one. None of another model, which may compute in other dtypes."""
    memory = MEMORY.search(name.upper())
    wanted = _model(name)
    found = [known for known in ACCELERATORS if _model(known) == wanted]
    size = memory and (memory[1] or memory[2])
    return [known for known in found if size and known.endswith(f"-{size}G")] or found


def _model(name: str) -> str:
    return MAKES.sub("", MEMORY.sub("", name.upper()))
