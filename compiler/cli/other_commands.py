"""Commands of other tools, and a misspelt one of ours, answered with what does it here."""

from __future__ import annotations

import click

from ..diagnostics.guess import nearest

LAUNCH = "compile the spec, then train with `bash launch.sh` in the run directory"
CONVERT = "`bash convert.sh` in the run directory makes the adapter and the merged model"
CHAT = "`python chat.py` in the run directory talks to the model"
SERVE = "`bash deploy.sh` in the run directory serves the model, with OpenAI's API"
EVALUATE = (
    "a run takes its validation loss while it trains, with data.validation_fraction or "
    "[[data.validation]] in the spec; `ftc report RUN` shows it"
)
LIST = "`ftc new NAME --data FILE` names the presets that are like NAME, `ftc data formats` lists row formats"
NEW = "`ftc new BASE --data FILE` writes a first spec"
CHECK = "`ftc check SPEC` reports every problem of a spec"
ROWS = "`ftc preview SPEC` shows rows as the model sees them, `ftc check SPEC --data` counts them"

# What XTuner, LLaMA-Factory, Axolotl, TRL, ms-swift and torchtune call it, and what one would try.
ELSEWHERE = {
    word: answer
    for answer, words in {
        LAUNCH: "train run launch finetune fine-tune sft pt pretrain tune fit resume dpo orpo kto ppo grpo "
        "rlhf rm reward",
        CONVERT: "convert merge merge-lora export pth-to-hf save",
        CHAT: "chat infer inference generate ask talk cli",
        SERVE: "serve deploy api app server webchat webui",
        EVALUATE: "eval evaluate test mmlu benchmark",
        LIST: "list ls list-cfg models presets templates formats",
        NEW: "init create copy-cfg cp config configs start",
        CHECK: "validate lint",
        ROWS: "preprocess log-dataset check-custom-dataset dataset datasets tokenize show",
        "`ftc compile SPEC -o RUN` writes the run": "build make render",
        "`ftc report RUN` writes a page on what a run did": "log logs plot dashboard status",
        "`ftc --help` lists the commands, `ftc COMMAND --help` explains one": "help",
        "`ftc --version` prints it": "version",
    }.items()
    for word in words.split()
}


class Commands(click.Group):
    """A group that knows what its users may mean."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            word = name.lower().replace("_", "-")
            near = nearest(word, self.list_commands(ctx))
            meant = ELSEWHERE.get(word) or (f"did you mean `ftc {near}`?" if near else None)
            if meant is None and word.endswith((".toml", ".yaml", ".yml", ".py")):
                meant = f"did you mean `ftc check {name}` or `ftc compile {name}`?"
            hint = meant or "`ftc --help` lists the commands"
            ctx.fail(f"ftc has no command `{name}`.\n  hint: {hint}")
        return super().resolve_command(ctx, args)
