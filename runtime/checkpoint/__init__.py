"""Checkpoints: complete or invisible, resumed exactly."""

from .training_state import resume, save

__all__ = ["resume", "save"]
