"""The run directory on disk: its lock, writing it whole, verifying it."""
