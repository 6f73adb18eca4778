"""From a DeepSpeed checkpoint to a PEFT adapter and a merged Hugging Face model, proven on the way.

    python -m ftc.runtime.convert --checkpoint latest --base FOLDER --chat-template chat_template.jinja ...

convert.sh calls it with every option written out. The model in training (whose logits are in the checkpoint),
that model as it is rebuilt here, base + adapter, the merged model, and the merged model as re-loaded from
disk must give the same logits on the run's own sequences.
"""

import argparse
import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from . import distributed, exported, names, rope, shards, stored, validation
from .data import load_tokenizer, read_template
from .errors import RunError, run
from .quantized import keep_layout


def load_base(options: argparse.Namespace, quantized: bool) -> Any:
    """The base model, as it was trained on: quantized weights are made dense again unless `quantized`."""
    quantization = None
    if options.bits == 4:
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=options.quantization,
            bnb_4bit_use_double_quant=options.double_quant,
            bnb_4bit_compute_dtype=getattr(torch, options.compute_dtype),
        )
    elif options.bits == 8:
        quantization = BitsAndBytesConfig(
            load_in_8bit=True, llm_int8_threshold=options.int8_threshold
        )
    settings = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    if options.rope_scaling:
        scaling = json.loads(options.rope_scaling)
        settings["config"] = rope.scaled(options.base, scaling, options.max_position, **settings)
    model = AutoModelForCausalLM.from_pretrained(
        options.base,
        **settings,
        dtype=getattr(torch, options.dtype),
        quantization_config=quantization,
        device_map={"": options.device} if quantization else None,
    )
    return model.dequantize() if quantization and not quantized else keep_layout(model)


def load_trained(
    model: Any,
    weights: dict[str, torch.Tensor],
    path: Path,
    options: argparse.Namespace,
    initial: Path | None = None,
) -> Any:
    """The base model with the trained weights: wrapped by its adapter, or overwritten.

    The adapter begins as in training, seed and device alike, so that what it took out of the base is taken
    out again. `initial`: where to save it before the trained weights go in.
    """
    if (path / "adapter_config.json").is_file():
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(options.seed)
        model = get_peft_model(model, LoraConfig.from_pretrained(str(path)))
        if initial is not None:
            config = model.peft_config["default"]
            start, config.init_lora_weights = config.init_lora_weights, True
            model.save_pretrained(initial, save_embedding_layers=False)
            config.init_lora_weights = start
    else:
        names.freeze(model, options.freeze)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if missing := sorted(trained.keys() - weights.keys()):
        raise RunError(
            "other-model",
            f"the checkpoint lacks {len(missing)} weights of this model, {missing[0]} first",
            "convert with the base model and the adapter that were trained",
            where=str(path),
        )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(weights[name])
    return (model if options.bits else model.to(options.device)).eval()


def logits(model: Any, probe: list[list[int]]) -> list[torch.Tensor]:
    """The logits of each sequence of token ids, (tokens, vocabulary) float32."""
    with torch.no_grad():
        rows = [torch.tensor([ids], device=model.device) for ids in probe]
        return [model(input_ids=row, use_cache=False).logits[0].float().cpu() for row in rows]


def compare(
    what: str, ours: list[torch.Tensor], theirs: list[torch.Tensor], tolerance: float
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
            "nothing was exported; is the base model still the one that was trained on?",
            "if it is, please report this with the run's ftc.lock",
            where="convert",
        )


def convert(options: argparse.Namespace) -> None:
    """Writes adapter/ and merged/ into the export folder; both appear when they are proven, not before."""
    path = locate(options.checkpoint)
    weights = shards.whole(path)
    probe = json.loads((path / "probe.json").read_text("utf-8"))
    export, work = Path(options.export), Path(options.export) / ".making"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)

    tokenizer = load_tokenizer(
        options.base, revision=options.revision, trust_remote_code=options.trust_remote_code
    )
    tokenizer.chat_template = read_template(options.chat_template)
    # As training used it, to compare with what is exported.
    trained_tokenizer = copy.deepcopy(tokenizer)
    initial = work / "initial" if options.mutates else None
    model = load_trained(load_base(options, quantized=True), weights, path, options, initial)
    exported.prepare(tokenizer)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"Converting {path} ({trained:,} trained weights).", flush=True)
    expected = logits(model, probe)
    seen = load_file(path / "probe.safetensors")
    ours = [seen[str(number)] for number in range(len(probe))]
    compare("in training and rebuilt", ours, [rows[-1:] for rows in expected], options.tolerance)
    adapter = hasattr(model, "peft_config")
    if adapter:
        _adapter(model, tokenizer, options, work / "adapter", initial, expected, probe)
    if options.merge or not adapter:
        if options.bits:
            model = load_trained(load_base(options, quantized=False), weights, path, options)
        _merged(model, tokenizer, options, work / "merged", expected, probe)
    if initial is not None:
        shutil.rmtree(initial)
    for made in sorted(work.iterdir()):
        number = exported.prove(trained_tokenizer, made, options.trust_remote_code)
        print(
            f"  {made.name}: the tokenizer gives training's ids, {number} conversations", flush=True
        )
    for made in sorted(work.iterdir()):
        shutil.rmtree(export / made.name, ignore_errors=True)
        made.rename(export / made.name)
        print(f"  {export / made.name}/", flush=True)
    work.rmdir()


def _adapter(
    model: Any,
    tokenizer: Any,
    options: argparse.Namespace,
    folder: Path,
    initial: Path | None,
    expected: Any,
    probe: Any,
) -> None:
    """Saves the adapter, and proves it on a base that is loaded anew.

    One that began with a part of the base is saved as the difference to its beginning (`initial`), which is
    a plain adapter of twice the rank, for the base as everybody has it.
    """
    from peft import PeftModel

    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision = options.base_name, options.revision
    # Embeddings that are trained are in modules_to_save; looking for others would ask the Hub.
    start = None if initial is None else str(initial)
    model.save_pretrained(
        folder, save_embedding_layers=False, path_initial_model_for_weight_conversion=start
    )
    tokenizer.save_pretrained(folder)
    again = PeftModel.from_pretrained(load_base(options, quantized=True), str(folder)).eval()
    again = again if options.bits else again.to(options.device)
    compare("trained and base + adapter", expected, logits(again, probe), options.tolerance)


def _merged(
    model: Any, tokenizer: Any, options: argparse.Namespace, folder: Path, expected: Any, probe: Any
) -> None:
    """Saves the model with the adapter merged in (or the trained model), proven before and after."""
    model = model.merge_and_unload() if hasattr(model, "peft_config") else model
    compare("trained and merged", expected, logits(model, probe), options.tolerance)
    model.generation_config.eos_token_id = exported.stops(tokenizer, model.generation_config)
    model.save_pretrained(folder, max_shard_size=options.max_shard_size)
    tokenizer.save_pretrained(folder)
    again = AutoModelForCausalLM.from_pretrained(
        folder, dtype=model.dtype, trust_remote_code=options.trust_remote_code
    )
    compare(
        "trained and re-loaded",
        expected,
        logits(again.to(options.device).eval(), probe),
        options.tolerance,
    )


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
    parser.add_argument("--base-name", required=True, help="what the adapter calls its base")
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
    parser.add_argument("--seed", type=int, default=0, help="the run's seed")
    parser.add_argument(
        "--mutates", action="store_true", help="the adapter began with a part of the base"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--chat-template", required=True)
    parser.add_argument("--export", default="export", help="the folder to write into")
    parser.add_argument("--merge", action="store_true", help="also merge the adapter into a model")
    parser.add_argument("--max-shard-size", default="5GB")
    parser.add_argument(
        "--tolerance", type=float, required=True, help="relative to the logits' scale"
    )
    return parser.parse_args()


if __name__ == "__main__":
    distributed.quiet()
    run(lambda: convert(arguments()))
