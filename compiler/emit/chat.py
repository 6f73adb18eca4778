"""chat.py, which talks to the base, the adapter or the merged model."""

from __future__ import annotations

from ..facts.gather import Facts
from ..plan.plan import Plan
from . import quote, templates
from .base_model import from_hub, from_modelscope, is_fetched, scaled_rope
from .deploy import is_served
from .imports import of_runtime
from .layout import tidy
from .shell import on_cpu


def files(plan: Plan, facts: Facts, run: dict[str, str]) -> dict[str, str]:
    merged, cpu = is_served(plan), on_cpu(plan)
    made = [*(["adapter"] if plan.method.lora else []), *(["merged"] if merged else [])]
    both = len(made) > 1
    of_base = "None if chosen.merged else " if merged else ""
    talk = f"Talk to the model in export/{made[0]}."
    if both:
        talk = "Talk to the model. Without a choice: the merged one if convert.sh has made it, else the adapter."
    parts = {
        "talk": talk,
        "choices": "--base, --adapter, --merged choose the model"
        if both
        else "--base: with the model before training",
        "cpu": cpu,
        "imports": _imports(plan),
        "modelscope": from_modelscope(plan),
        "rope_in_chat": scaled_rope(plan, "return ", "source"),
        "choose": f"chat.choose({', '.join(['FOLDER', *map(quote.py, made)])})",
        "source": "chosen.merged or base_model()" if merged else "base_model()",
        "of_base": of_base,
        "hub_revision": from_hub(plan),
        "device_map": '"cpu"' if cpu else '"auto"',
        "device_map_says": "" if cpu else "  # on the GPUs, and in memory what they can't hold",
        "tokenizer_arguments": _tokenizer_arguments(plan, of_base),
        "run": _run(plan),
    }
    text = templates.fill("chat.py", {"plan": plan, "run": run, "parts": parts})
    return {"chat.py": tidy(text)}


def _imports(plan: Plan) -> str:
    rooms = {"": ["data", "errors"], "process": ["distributed"], "serve": ["chat"]}
    rooms["train"] = ["failed"]
    rooms["model"] = [*(["download"] if is_fetched(plan) else [])]
    rooms["model"] += ["rope"] if plan.model.rope_scaling else []
    others = {"transformers": ["BitsAndBytesConfig"] if plan.method.quantization else []}
    return quote.all_imports(of_runtime(rooms) | others)


def _tokenizer_arguments(plan: Plan, of_base: str) -> str:
    arguments = ["source"]
    arguments += [f"revision={of_base}REVISION"] if from_hub(plan) else []
    arguments += ["trust_remote_code=True"] if plan.model.trust_remote_code.value else []
    return ", ".join(arguments)


def _run(plan: Plan) -> str:
    arguments = ["model", "tokenizer", *(["system=SYSTEM"] if plan.chat.system else [])]
    return quote.call("chat.run", [*arguments, "settings=SETTINGS", "prompt=chosen.prompt"], 4, 0)
