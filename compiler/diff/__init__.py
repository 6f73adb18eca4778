"""Two runs compared: what changes, and what that does to a run."""
