"""The loop of a run: start, steps, what watches over them and what they write down."""
