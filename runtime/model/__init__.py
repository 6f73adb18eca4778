"""The model that is trained: its base, its parts that are swapped or adapted."""
