"""The files of a run directory, rendered and proven."""
