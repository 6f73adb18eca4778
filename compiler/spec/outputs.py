"""What is seen and made of the model: the tables [samples], [tracking], [export] and [chat]."""

from __future__ import annotations

from typing import Literal

from .keys import NAME, SIZE, Line, Table, Text, key


class Samples(Table, affects="cosmetic"):
    """[samples]: answers that are generated before, during and after training."""

    prompts: list[Text] = key(help="What the model is asked.", min_length=1, changes="cosmetic")
    every: int | None = key(
        None, help="Every N steps. Unset: before and after.", ge=1, changes="cosmetic"
    )
    at_checkpoints: bool = key(
        False, help="Also at each checkpoint that train.save_every asks for.", changes="cosmetic"
    )
    system: Text | None = key(
        None, help="The system message before each prompt.", changes="cosmetic"
    )
    max_new_tokens: int = key(64, help="Longest answer.", unit="tokens", ge=1, changes="cosmetic")


class Tracking(Table, affects="cosmetic"):
    """[tracking]: what gets the metrics beside logs/metrics.jsonl."""

    trackers: list[Literal["tensorboard", "wandb", "mlflow", "swanlab", "trackio"]] = key(
        help="The trackers, each once.", min_length=1, changes="cosmetic"
    )
    project: str = key(
        "ftc",
        help="What they file the run under.",
        pattern=NAME,
        max_length=100,
        changes="cosmetic",
    )
    run_name: Line | None = key(
        None, help="What they call the run. Unset: the run's name.", changes="cosmetic"
    )
    online: bool = key(
        False,
        help="wandb and swanlab send to their service, mlflow and trackio to the server that an "
        "environment variable names. Otherwise all stays in logs/.",
        changes="cosmetic",
    )


class Export(Table, affects="cosmetic"):
    """[export]: what convert.sh makes of a checkpoint."""

    merge: bool = key(True, help="Merge the adapter into a model of its own.", changes="cosmetic")
    max_shard_size: str = key("5GB", help="Largest weight file.", pattern=SIZE, changes="cosmetic")


class Chat(Table, affects="cosmetic"):
    """[chat]: how chat.py generates."""

    system: Text | None = key(None, help="The system message of a chat.", changes="cosmetic")
    max_new_tokens: int = key(512, help="Longest answer.", unit="tokens", ge=1, changes="cosmetic")
    temperature: float = key(
        0.0, help="0: always the likeliest token.", ge=0, le=5, changes="cosmetic"
    )
    top_p: float = key(
        1.0, help="Draw from the likeliest tokens of this share.", gt=0, le=1, changes="cosmetic"
    )
    repetition_penalty: float = key(
        1.0, help="Above 1: tokens seen before are less likely.", gt=0, le=10, changes="cosmetic"
    )
