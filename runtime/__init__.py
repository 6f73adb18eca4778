"""What the scripts of a run directory import: plain arguments in, tensors and files out."""
