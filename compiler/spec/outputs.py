"""What is seen and made of the model: the tables [samples], [tracking], [export] and [chat]."""

from __future__ import annotations

from typing import Literal

from .keys import NAME, SIZE, Line, Table, Text, cosmetic


class Samples(Table, affects="cosmetic"):
    """[samples]: answers that are generated before, during and after training."""

    prompts: list[Text] = cosmetic(help="What the model is asked.", min_length=1)
    every: int | None = cosmetic(None, help="Every N steps. Unset: before and after.", ge=1)
    at_checkpoints: bool = cosmetic(
        False, help="Also at each checkpoint that train.save_every asks for."
    )
    system: Text | None = cosmetic(None, help="The system message before each prompt.")
    max_new_tokens: int = cosmetic(64, help="Longest answer.", unit="tokens", ge=1)


class Tracking(Table, affects="cosmetic"):
    """[tracking]: what gets the metrics beside logs/metrics.jsonl."""

    trackers: list[Literal["tensorboard", "wandb", "mlflow", "swanlab", "trackio"]] = cosmetic(
        help="The trackers, each once.", min_length=1
    )
    project: str = cosmetic(
        "ftc", help="What they file the run under.", pattern=NAME, max_length=100
    )
    run_name: Line | None = cosmetic(None, help="What they call the run. Unset: the run's name.")
    online: bool = cosmetic(
        False,
        help="wandb and swanlab send to their service, mlflow and trackio to the server that an "
        "environment variable names. Otherwise all stays in logs/.",
    )


class Export(Table, affects="cosmetic"):
    """[export]: what convert.sh makes of a checkpoint."""

    merge: bool = cosmetic(True, help="Merge the adapter into a model of its own.")
    max_shard_size: str = cosmetic("5GB", help="Largest weight file.", pattern=SIZE)


class Chat(Table, affects="cosmetic"):
    """[chat]: how chat.py generates."""

    system: Text | None = cosmetic(None, help="The system message of a chat.")
    max_new_tokens: int = cosmetic(512, help="Longest answer.", unit="tokens", ge=1)
    temperature: float = cosmetic(0.0, help="0: always the likeliest token.", ge=0, le=5)
    top_p: float = cosmetic(1.0, help="Draw from the likeliest tokens of this share.", gt=0, le=1)
    repetition_penalty: float = cosmetic(
        1.0, help="Above 1: tokens seen before are less likely.", gt=0, le=10
    )
