"""Weights on a CPU that lie in files, so that memory need not hold a whole model.

transformers maps the files of a base model as they are. What is made of it (merged, dequantized, or read from
a checkpoint) is mapped in the same way: the system writes it out, and reads it again, as memory allows.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import torch


class Weights:
    """Files in a folder that hold weights. A file has no name any more: it is gone when its weight is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: set[int] = set()

    def set(self, parameter: Any, values: torch.Tensor) -> None:
        """Gives the parameter these values, in its own dtype and on its own device."""
        if parameter.device.type == "cpu":
            parameter.data = self._file(values.to(parameter.dtype))
        else:
            with torch.no_grad():
                parameter.copy_(values)

    def take(self, module: Any) -> None:
        """Moves those weights of a module to files that are in memory, or in the files of another model."""
        for parameter in module.parameters():
            if parameter.device.type == "cpu" and parameter.data_ptr() not in self.places:
                parameter.data = self._file(parameter.data)

    def _file(self, values: torch.Tensor) -> torch.Tensor:
        if not values.numel():
            return values
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".weight-") as file:
            # A full disk is an OSError here; a mapped page that finds no room ends the process.
            os.posix_fallocate(file.fileno(), 0, values.nbytes)
            mapped = torch.from_file(
                file.name, shared=True, size=values.numel(), dtype=values.dtype
            ).view(values.shape)
        self.places.add(mapped.data_ptr())
        return mapped.copy_(values)
