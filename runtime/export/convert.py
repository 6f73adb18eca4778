"""From a DeepSpeed checkpoint to a PEFT adapter and a merged Hugging Face model, proven on the way.

    python -m ftc.runtime.convert --checkpoint latest --base FOLDER --chat-template chat_template.jinja ...

convert.sh calls it with every option written out. The model in training (whose logits are in the checkpoint),
that model as it is rebuilt here, base + adapter, the merged model, and the merged model as re-loaded from
disk must give the same logits on the run's own sequences. One model at a time is loaded, on a CPU from
files (see on_disk); the adapter is made first, and stays whatever becomes of the merged model.
"""

import argparse
import copy
import gc
import json
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file

from ..checkpoint import stored, validation
from ..data import load_tokenizer, read_template
from ..errors import RunError
from ..model import adapters, towers
from ..model.generate import stops
from ..model.on_disk import Weights
from ..process import distributed
from ..train import failed
from . import model_card, portable, served_tokenizer
from .rebuilt import Job, load_base, load_trained, merge, ready

# How libraries refuse something, or the system does; anything else is a mistake in the code.
REFUSALS = (ValueError, NotImplementedError, OSError, MemoryError, torch.OutOfMemoryError)


def logits(model: Any, probe: list[list[int]]) -> list[torch.Tensor]:
    """The logits of each sequence of token ids, (tokens, vocabulary) float32."""
    with torch.no_grad():
        rows = [torch.tensor([ids], device=model.device) for ids in probe]
        return [model(input_ids=row, use_cache=False).logits[0].float().cpu() for row in rows]


def compare(
    what: str, ours: list[torch.Tensor], theirs: list[torch.Tensor], tolerance: float, *hints: str
) -> None:
    """Prints the largest difference, relative to the largest logit. Raises RunError above tolerance."""
    # torch's max is NaN where anything is, wherever it stands; Python's would pass over it.
    scale = torch.stack([a.abs().max() for a in ours]).max()
    differences = [(a - b).abs().max() for a, b in zip(ours, theirs, strict=True)]
    difference = float(torch.stack(differences).max() / scale)
    tokens = sum(map(len, ours))
    print(
        f"  {what}: largest difference {difference:.1e} of the logits' scale, {tokens} tokens",
        flush=True,
    )
    if not difference <= tolerance:
        raise RunError(
            "logits-differ",
            f"{what} differ by {difference:.1e}; allowed is {tolerance:.0e}",
            *hints,
            "please report this with the run's ftc.lock",
            where="convert",
        )


def convert(options: argparse.Namespace) -> None:
    """Writes adapter/ and merged/ into the export folder; each appears when it is proven, not before.

    What fails of the one does not withhold the other. Raises RunError for what failed, at the end.
    """
    path, export = locate(options.checkpoint), Path(options.export)
    work = export / ".making"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    tokenizer = load_tokenizer(
        options.base, revision=options.revision, trust_remote_code=options.trust_remote_code
    )
    tokenizer.chat_template = read_template(options.chat_template)
    trained_tokenizer = copy.deepcopy(tokenizer)
    served_tokenizer.prepare(tokenizer)
    probe = json.loads((path / "probe.json").read_text("utf-8"))
    job = Job(options, path, probe, tokenizer, trained_tokenizer, work, Weights(work))

    models = [load_trained(job)]  # whoever takes the model out of the list is the last to hold it
    expected = _rebuilt(job, models[0])
    parts: dict[str, Callable[[], None]] = {}
    if hasattr(models[0], "peft_config"):
        parts["adapter"] = lambda: _adapter(job, models, expected)
    if options.merge or not parts:
        parts["merged"] = lambda: _merged(job, models, expected)
    failures = {name: error for name, make in parts.items() if (error := _attempt(job, name, make))}
    shutil.rmtree(work)
    _report(failures, [export / name for name in parts if name not in failures], export)


def _rebuilt(job: Job, model: Any) -> list[torch.Tensor]:
    """The logits of what was trained, as it is rebuilt here; proven by those in the checkpoint."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"Converting {job.path} ({trained:,} trained weights).", flush=True)
    expected = logits(model, job.probe)
    seen = load_file(job.path / "probe.safetensors")
    ours = [seen[str(number)] for number in range(len(job.probe))]
    compare(
        "in training and rebuilt",
        ours,
        [rows[-1:] for rows in expected],
        job.options.tolerance,
        "nothing was exported; is the base model still the one that was trained on?",
    )
    return expected


def _attempt(job: Job, name: str, make: Callable[[], None]) -> RunError | None:
    """Makes a part, proves its tokenizer and puts it in its place. Returns what went wrong, if anything did."""
    made, place = job.work / name, Path(job.options.export) / name
    try:
        make()
        number = served_tokenizer.prove(job.trained_tokenizer, made, job.options.trust_remote_code)
        print(f"  {name}: the tokenizer gives training's ids, {number} conversations", flush=True)
        readable = (
            (made / "README.md").stat().st_mode
        )  # safetensors makes files for their owner alone
        for file in made.iterdir():
            file.chmod(readable)
        shutil.rmtree(place, ignore_errors=True)
        made.rename(place)
        print(f"  {place}/", flush=True)
        return None
    except RunError as error:
        return error
    except Exception as error:
        if not isinstance(error, REFUSALS):
            traceback.print_exc()
        said = " ".join(str(error).split())[:500]
        return RunError("not-exported", f"{type(error).__name__}: {said}", where=str(place))
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _report(failures: dict[str, RunError], made: list[Path], export: Path) -> None:
    """Raises the last failure, with what is there all the same; says the ones before it."""
    for name, error in failures.items():
        error.args += tuple(f"{path}/ was made, and is proven" for path in made)
        if (export / name).exists():
            error.args += (f"{export / name}/ is of an earlier conversion",)
    *others, last = failures.values() or [None]
    for error in others:
        print(error, file=sys.stderr)
    if last is not None:
        raise last


def _free() -> None:
    """Gives back the memory of models that nobody holds any more; theirs is held in circles."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _adapter(job: Job, models: list[Any], expected: list[torch.Tensor]) -> None:
    """Saves the adapter, and proves it on a base that is loaded anew.

    One that began with a part of the base is saved as the difference to its beginning, which is
    a plain adapter of twice the rank, for the base as everybody has it.
    """
    from peft import PeftModel

    options, folder, model = job.options, job.work / "adapter", models.pop()
    config = model.peft_config["default"]
    base = str(Path(options.base).resolve()) if Path(options.base).is_dir() else options.base
    config.base_model_name_or_path, config.revision = base, options.revision
    dense = adapters.for_everybody(model)
    portable.plain_scale(config)
    # Embeddings that are trained are in modules_to_save; looking for others would ask the Hub.
    start = None if job.initial is None else str(job.initial)
    model.save_pretrained(
        folder, save_embedding_layers=False, path_initial_model_for_weight_conversion=start
    )
    del model, config
    _free()
    job.tokenizer.save_pretrained(folder)
    portable.write_old_names(folder)
    again = ready(job, PeftModel.from_pretrained(load_base(job, dense), str(folder)))
    compare("trained and base + adapter", expected, logits(again, job.probe), options.tolerance)
    model_card.write(folder, job.path.name, base, portable.limits(again))
    if options.bits and dense:
        print(
            "  adapter: PEFT loads it on a dense base alone, as some layers are named like experts'"
        )


def _merged(job: Job, models: list[Any], expected: list[torch.Tensor]) -> None:
    """Saves the model with the adapter merged in (or the trained model), proven before and after."""
    options, folder = job.options, job.work / "merged"
    _free()
    model = models.pop() if models else load_trained(job, dense=True)
    model = merge(model, job.weights) if hasattr(model, "peft_config") else model
    compare("trained and merged", expected, logits(model, job.probe), options.tolerance)
    if model.can_generate():
        if unset := portable.settle(model.generation_config):
            flags = ", ".join(unset)
            print(f"  generation_config.json: without {flags}, which had no effect", flush=True)
        model.generation_config.eos_token_id = stops(job.tokenizer, model.generation_config)
    dtype = model.dtype
    model.save_pretrained(folder, max_shard_size=options.max_shard_size)
    del model
    _free()
    job.tokenizer.save_pretrained(folder)
    model_card.write(folder, job.path.name, options.base, portable.write_old_names(folder))
    if options.tower:
        towers.copy_processor(options.base, options.revision, folder)
    again = getattr(transformers, options.auto_class).from_pretrained(
        folder, dtype=dtype, trust_remote_code=options.trust_remote_code
    )
    again = again.to(options.device).eval()
    compare("trained and re-loaded", expected, logits(again, job.probe), options.tolerance)


def locate(choice: str) -> Path:
    """The folder of a checkpoint: "latest", "best" (by validation loss) or a path."""
    best = validation.best(path for _, path in stored.steps()) if choice == "best" else None
    if best is not None:
        return stored.find(str(best))
    path = stored.find(choice) if choice not in ("latest", "best") else stored.newest()
    if path is None:
        raise RunError("no-checkpoint", "there is no checkpoint yet", "train first: bash launch.sh")
    if choice == "best":
        raise RunError(
            "no-checkpoint",
            "no checkpoint was evaluated, so none of them is the best",
            f"take the newest, {path}: bash convert.sh --checkpoint latest",
        )
    return path


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="convert.sh", allow_abbrev=False)
    parser.add_argument(
        "--checkpoint", default="latest", help="latest, best, or a folder in checkpoints/"
    )
    parser.add_argument("--base", required=True, help="the base model: a folder or a Hub id")
    parser.add_argument("--revision", help="commit of a Hub id")
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--dtype", required=True, choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--rope-scaling", help="rope parameters, as JSON")
    parser.add_argument("--max-position", type=int, help="the longest context with them")
    parser.add_argument("--bits", type=int, choices=[4, 8], help="how the base was quantized")
    parser.add_argument("--quantization", choices=["nf4", "fp4"], help="the 4-bit data type")
    parser.add_argument("--double-quant", action="store_true")
    parser.add_argument("--compute-dtype", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--int8-threshold", type=float)
    parser.add_argument("--freeze", action="append", default=[], help="weights not trained")
    parser.add_argument("--auto-class", default="AutoModelForCausalLM", help="what loads the base")
    parser.add_argument("--tower", action="append", default=[], help="modules text never reaches")
    parser.add_argument("--seed", type=int, default=0, help="the run's seed")
    parser.add_argument(
        "--mutates", action="store_true", help="the adapter began with a part of the base"
    )
    parser.add_argument(
        "--device", default="cpu", help="cpu, or cuda for a GPU that holds the model"
    )
    parser.add_argument("--chat-template", required=True)
    parser.add_argument("--export", default="export", help="the folder to write into")
    parser.add_argument("--merge", action="store_true", help="also merge the adapter into a model")
    parser.add_argument("--max-shard-size", default="5GB")
    parser.add_argument(
        "--tolerance", type=float, required=True, help="relative to the logits' scale"
    )
    return parser.parse_args()


def main() -> None:
    """The command line."""
    distributed.quiet()
    with failed.in_words():
        convert(arguments())
