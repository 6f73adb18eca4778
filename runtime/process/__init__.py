"""The processes of a run: their group, their signals, their lock."""
