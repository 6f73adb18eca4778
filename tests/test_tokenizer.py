"""A base without a tokenizer.json: its ids are those of its sentencepiece model, or it is refused."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from ftc.runtime import data
from ftc.runtime.errors import RunError

from .specs import BASE, furnish, merged, render

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@pytest.fixture
def bare(tiny_model: str, tmp_path: Path) -> Path:
    """A model's folder without a tokenizer."""
    shutil.copytree(tiny_model, tmp_path / "base")
    for name in FILES:
        (tmp_path / "base" / name).unlink(missing_ok=True)
    return tmp_path / "base"


def of_type(folder: Path, model_type: str) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
    return str(folder)


def add_sentencepiece(folder: Path) -> None:
    """A tokenizer.model as Llama 2 has it."""
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    pytest.importorskip("google.protobuf")
    text = folder.parent / "text.txt"
    text.write_text("hello world, this is a text.\nthe world says hello to 12345 words\n" * 40)
    trainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=320,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
        hard_vocab_limit=False,
    )


@pytest.mark.parametrize("model_type", ["qwen2", "llama", "gpt2"])
def test_a_base_without_any_tokenizer_is_refused(bare, model_type):
    with pytest.raises(RunError, match=r"error\[no-(tokenizer|model)\]: the tokenizer of .*base"):
        data.load_tokenizer(of_type(bare, model_type))


def test_without_sentencepiece_it_says_what_to_install(bare, monkeypatch):
    for name in ("sentencepiece", "google.protobuf"):
        monkeypatch.setitem(sys.modules, name, None)
    (bare / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02")
    with pytest.raises(RunError) as error:
        data.load_tokenizer(of_type(bare, "llama"))
    assert "error[no-tokenizer]" in str(error.value)
    assert "pip install sentencepiece" in str(error.value)
    assert "add the tokenizer.json" in str(error.value) and "pip install tiktoken" not in str(
        error.value
    )


def test_a_sentencepiece_model_that_is_read_right(bare):
    add_sentencepiece(bare)
    from sentencepiece import SentencePieceProcessor

    (bare / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    theirs = SentencePieceProcessor(model_file=str(bare / "tokenizer.model"))
    ours = data.load_tokenizer(of_type(bare, "llama"))
    assert ours("hello 123", add_special_tokens=False).input_ids == theirs.encode("hello 123")


@pytest.mark.parametrize("model_type", ["mistral", "mixtral", "phi3", "llama"])
@pytest.mark.parametrize("named", ["", "InternLM2Tokenizer"])
def test_a_sentencepiece_model_that_is_read_wrong_is_refused(bare, model_type, named, monkeypatch):
    """And the way out that is named leads to its ids."""
    add_sentencepiece(bare)
    if named:
        (bare / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": named}))
    with pytest.raises(
        RunError, match=r"no-tokenizer.*another tokenizer of tokenizer\.model"
    ) as error:
        data.load_tokenizer(of_type(bare, model_type))
    _, _, code, folder = shlex.split(str(error.value).partition("of Llama: ")[2])
    monkeypatch.setattr(sys, "argv", ["-c", folder])
    exec(code)
    assert data.load_tokenizer(str(bare))("hello").tokens()[-1] == "▁hello"


def test_a_tokenizer_json_beside_it_is_trusted(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "base")
    add_sentencepiece(tmp_path / "base")
    of_type(tmp_path / "base", "mistral")
    assert data.load_tokenizer(str(tmp_path / "base"))("hello").input_ids


WHOLE = json.dumps({"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}}})
LARGE = json.dumps(
    {"added_tokens": [], "model": {"vocab": dict.fromkeys(map(str, range(1 << 17)), 0)}}
)
FAULTS = {
    "empty": ("tokenizer.json", "", "it is empty"),
    "cut": ("tokenizer.json", WHOLE[:-9], "it is not JSON"),
    "a list": ("tokenizer.json", "[1]", "it is not a JSON object"),
    "without a model": ("tokenizer.json", '{"added_tokens": []}', "it has no model with a vocab"),
    "without anything": ("tokenizer.json", "{}", "it has no added_tokens and no model with a vocab"),
    "large and cut": ("tokenizer.json", LARGE[:-9], "it is not JSON"),
    "large, without added tokens": ("tokenizer.json", LARGE.replace("ed_to", ""), "it has no added_tokens"),
    "a pointer": ("tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "empty settings": ("tokenizer_config.json", "\n", "it is empty"),
    "settings in a list": ("tokenizer_config.json", "[]", "it is not a JSON object"),
    "empty map": ("special_tokens_map.json", "", "it is empty"),
}  # fmt: skip


FINE = {
    "fine": WHOLE,
    **{f"large, with {end} at its end": f"{LARGE[:-1]}, \"x\": {end}}}" for end in ("{}", "null", "true", "1")},
}  # fmt: skip


@pytest.mark.parametrize("name", [*FAULTS, *FINE])
def test_damaged_files_of_a_tokenizer_are_told_by_check(bare, tmp_path, name):
    from ftc.compiler import CompileError

    furnish(tmp_path)
    file, content, told = FAULTS.get(name) or ("tokenizer.json", FINE[name], "")
    (bare / "tokenizer.json").write_text(WHOLE)
    (bare / file).write_text(content)
    model = {"base": "base", "chat_template": "chatml", "max_seq_length": 96}
    spec = merged(BASE, {"model": model})
    if not told:
        assert render(spec, tmp_path)
        return
    with pytest.raises(CompileError) as error:
        render(spec, tmp_path)
    (found,) = error.value.diagnostics
    assert found.code == "bad-model" and found.message.startswith(f"{bare / file}: ")
    assert told in found.message


def test_a_run_lists_what_reads_its_tokenizer(bare, tmp_path):
    """And chat.py reads it as train.py does."""
    (bare / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02")
    furnish(tmp_path)
    model = {"base": "base", "chat_template": "chatml", "max_seq_length": 96}
    spec = merged(BASE, {"model": model})

    def listed() -> set[str]:
        lines = render(spec, tmp_path)["requirements.txt"].content.decode().split()
        return {"sentencepiece", "protobuf"} & {line.partition("==")[0] for line in lines}

    assert listed() == {"sentencepiece", "protobuf"}
    assert b"tokenizer = data.load_tokenizer(source)" in render(spec, tmp_path)["chat.py"].content
    (bare / "tokenizer.json").write_text('{"added_tokens": [], "model": {"vocab": {}}}')
    assert listed() == set()


def test_the_chat_takes_the_tokenizer_of_the_revision_that_was_trained(tmp_path):
    furnish(tmp_path)
    base = {"base": "acme/model", "chat_template": "chatml", "revision": "abc"}
    for method in ("lora", "full"):
        spec = merged(BASE, {"model": {**base, "trust_remote_code": True}})
        spec["method"] = {"kind": method}
        chat = render(spec, tmp_path)["chat.py"].content.decode()
        call = chat[chat.index("data.load_tokenizer") :]
        assert (
            "revision=None if chosen.merged else REVISION" in call
            and "trust_remote_code=True" in call
        )
