"""How long a run is, in words: samples, sequences, steps and tokens. The compiler uses these words, too.

Needs the standard library only.
"""

FEW = 30  # steps: with the usual learning rates, fewer move a model little


def words(
    samples: int, tokens: int, sequences: int, batch: int, steps: int, num_epochs: int | None
) -> str:
    """The arithmetic of a run: an epoch's samples, with so many tokens, in sequences, `batch` of them a step.

    `num_epochs`: None where the number of steps is what was asked for.
    """
    epochs = num_epochs or steps * batch / sequences
    whole = f"{round(epochs):,}" if epochs >= 10 else f"{epochs:.2g}"
    seen = f"about {about(tokens * epochs, 'token')}"
    seen = number(tokens * num_epochs, "token") if num_epochs else seen
    held = f" ({samples / sequences:.1f} in each)" if samples > sequences else ""
    return (
        f"{number(samples, 'sample')}, {number(tokens, 'token')}, in {number(sequences, 'sequence')}{held}.\n"
        f"{number(steps, 'step')} of {number(batch, 'sequence')}: "
        f"{whole} epoch{'s' * (whole != '1')}, {seen}."
    )


def few_steps(steps: int) -> str:
    """The warning where a run that is to last some epochs has too few steps; "" if it has enough."""
    if steps >= FEW:
        return ""
    return (
        f"warning[few-steps]: the run has {number(steps, 'step')}, in which a model learns little\n"
        "  hint: lower train.global_batch_size or model.max_seq_length (fewer samples in a sequence)\n"
        "  hint: or raise train.num_epochs, or add rows"
    )


def number(count: int, noun: str) -> str:
    """ "1 step", "1,000 steps"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def about(count: float, noun: str) -> str:
    """A number that is not exact, with its noun: two digits of it, as it is below 100, and at least 1."""
    whole = max(1, round(count))
    return number(round(whole, -max(0, len(str(whole)) - 2)), noun)
