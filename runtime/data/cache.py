"""Tokens on disk: each source is tokenized once, into an Arrow file that is mapped into memory.

An entry is a folder tokens/KEY in ftc's cache ($FTC_CACHE, or ftc/ in the user's cache folder). The key
is a digest of everything that the tokens depend on, so an entry never goes stale, and any of them may be
deleted at any time. It is written under another name and renamed, by one process; others wait for it.
"""

import errno
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from ..errors import RunError
from ..process.folders import alone, cache
from ..process.lock import sha256
from ..rows.files import empty
from . import reading
from .ledger import Ledger
from .reading import Source
from .tokenizing import SCHEMA, Settings, tokenized

# What decides on the tokens beside data, settings and the code here: these packages.
PACKAGES = ("jinja2", "pyarrow", "tokenizers", "transformers")


def key(source: Source, tokenizer: PreTrainedTokenizerBase, settings: Settings) -> str:
    """64 hexadecimal digits that differ if anything does that could change a token or a count."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    facts = {
        "data": [sha256(Path(path)) for path in source.paths] or _hub_fingerprint(source),
        "source": {**asdict(source), "file": None, "files": None, "weight": None},
        "kinds": [Path(path).suffixes for path in source.paths],
        "template": tokenizer.chat_template,
        "tokenizer": backend.to_str() if backend is not None else repr(tokenizer),
        "special_tokens": tokenizer.special_tokens_map,
        "settings": asdict(settings),
        "code": _code(source),
        "packages": {name: version(name) for name in PACKAGES},
    }
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _hub_fingerprint(source: Source) -> str:
    """What `datasets` calls the content that it has of the data set."""
    return reading.hub_data(source)._fingerprint


def _code(source: Source) -> dict[str, str | None]:
    """The digests of the code that makes tokens of rows: this folder, rows, formats, and a format of the user's."""
    runtime = Path(__file__).parent.parent
    found = [
        *(runtime / "rows").glob("*.py"),
        *(runtime / "data").glob("*.py"),
        *(runtime / "formats").iterdir(),
    ]
    code = {str(path.relative_to(runtime)): sha256(path) for path in found if path.is_file()}
    own = source.format.rpartition(":")[0]
    return {**code, **({"own": sha256(Path(own))} if own else {})}


class Tokens(NamedTuple):
    """The samples of a source: a table of SCHEMA, mapped from disk, and what became of the rows.

    `moved`: what files are called now that had another name when they were tokenized; the places in
    the table have the old ones. `said`: a sentence on where the tokens come from.
    """

    table: pa.Table
    ledger: Ledger
    moved: dict[str, str]
    said: str = ""


def tokens(source: Source, tokenizer: PreTrainedTokenizerBase, settings: Settings) -> Tokens:
    """The tokens of a source. Tokenizes if they are not there yet, or damaged."""
    before = reading.check_there(source)
    folder = cache() / "tokens" / key(source, tokenizer, settings)
    with _writable(folder.parent), alone(folder):
        found, said = _open(folder, source), "tokens from cache"
        if found is None:
            begun = time.perf_counter()
            damaged = folder.exists()
            _build(folder, source, tokenizer, settings)
            if reading.check_there(source) != before:
                shutil.rmtree(folder)
                hint = "start again when nothing writes to it any more"
                raise RunError(
                    "changed-file", "a file changed while it was read", hint, where=source.name
                )
            found = _open(folder, source)
            said = f"tokenized in {time.perf_counter() - begun:.1f} s"
            said += ", as the cache was damaged" if damaged else ""
    assert found is not None, f"{folder} was written and can't be read"
    return found._replace(said=said)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Makes the folder; says in one sentence what is wrong with the disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise RunError(
            "no-cache",
            f"tokens can't be written to {folder}: {error.strerror}",
            "make room there, or set FTC_CACHE to a folder on another disk",
        ) from None


def _open(folder: Path, source: Source) -> Tokens | None:
    """The entry, or None if there is none, or not as it was written."""
    try:
        entry = json.loads((folder / "entry.json").read_text("utf-8"))
        file = folder / "tokens.arrow"
        if entry["sha256"] != sha256(file):
            return None
        table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        pairs = zip(entry["paths"], source.paths, strict=True)
        moved = {old: new for old, new in pairs if old != new}
        ledger = Ledger.from_json({**entry["ledger"], "source": source.name})
        return Tokens(table, ledger.renamed(moved), moved)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build(
    folder: Path, source: Source, tokenizer: PreTrainedTokenizerBase, settings: Settings
) -> None:
    ledger = Ledger(source.name)
    work = folder.with_name(f".making-{folder.name}")
    shutil.rmtree(work, ignore_errors=True)  # of a start that was killed
    work.mkdir()
    try:
        with (
            pa.ipc.new_file(str(work / "tokens.arrow"), SCHEMA) as file,
            tqdm(unit="row", desc=source.name, disable=None, leave=False) as bar,
        ):
            for batch, counts in tokenized(source, tokenizer, settings):
                file.write_batch(batch)
                ledger.add(counts)
                bar.update(counts.rows)
        if not ledger.rows:
            raise empty(source.name)
        entry: dict[str, Any] = {
            "sha256": sha256(work / "tokens.arrow"),
            "paths": source.paths,
            "ledger": asdict(ledger),
        }
        (work / "entry.json").write_text(json.dumps(entry, ensure_ascii=False), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
