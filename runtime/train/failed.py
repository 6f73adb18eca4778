"""What a library raises while a run or its model loads, in words: what it says first, where, and what to do.

Most of it comes of a damaged file: a library reads a base that is cut or odd, and ends deep inside. The traceback is
kept in logs/traceback.txt.
"""

import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

from ..errors import RunError
from . import guards

LOG = Path("logs/traceback.txt")
OURS = Path(__file__).parent.parent
SCRIPTS = ("train.py", "chat.py")
LONGEST = 300  # characters of what is quoted
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def in_words(folder: Path = Path()) -> Iterator[None]:
    """Loads a model of the run in `folder`. Raises RunError for what a library or the system raises inside."""
    try:
        yield
    except (RunError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # what a library in Rust panics with is no Exception
        if (found := loading(error, folder)) is None:
            raise
        raise found from None


def loading(error: BaseException, folder: Path = Path()) -> RunError | None:
    """The error of a run that has not begun to train, if it comes from the system or a library; None for a
    mistake in a script of the run or the runtime, whose traceback says more."""
    frames = list(_frames(error.__traceback__))
    if guards.Guard.latest is not None or not frames:
        return None
    if isinstance(error, OSError) and error.errno in NO_ACCESS:
        return RunError(
            "no-access",
            f"{error.strerror}: a run reads its base and its data, and writes logs and checkpoints here",
            "give this user the permission, or compile the run to a folder that can be written",
            where=str(error.filename or Path.cwd()),
        )
    if _is_ours(frames[-1]):
        return None
    library = _library(frames[-1])
    file = next((found for frame in reversed(frames) if (found := _file(frame))), None)
    base = next((found for frame in frames if (found := _base(frame))), None)
    where = str(file or base or _line(frames))
    return RunError(
        "cannot-load",
        f"{library} can't load this: {type(error).__name__}: {_first_line(error)}",
        "if the file is damaged, copy or download it again; `ftc check` and `ftc verify` look at a local base"
        if file or base
        else "change in the spec what it names, and compile again",
        _keep(error, folder),
        where=where,
    )


def _frames(found: TracebackType | None) -> Iterator[FrameType]:
    while found is not None:
        yield found.tb_frame
        found = found.tb_next


def _is_ours(frame: FrameType) -> bool:
    path = Path(frame.f_code.co_filename)
    return OURS in path.parents or path.name in SCRIPTS


def _library(frame: FrameType) -> str:
    parts = Path(frame.f_code.co_filename).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1].removesuffix(".py")
    return "Python"


def _base(frame: FrameType) -> str | None:
    """The folder or Hub id that a from_pretrained loads from."""
    if frame.f_code.co_name != "from_pretrained":
        return None
    names = ("pretrained_model_name_or_path", "pretrained_model_name")
    found = next((frame.f_locals[name] for name in names if frame.f_locals.get(name)), None)
    return os.fspath(found) if isinstance(found, str | os.PathLike) else None


def _file(frame: FrameType) -> Path | None:
    """A file that a frame of a library has in hand: one that is no code."""
    if _is_ours(frame):
        return None
    for value in frame.f_locals.values():
        if isinstance(value, str | os.PathLike) and 0 < len(text := os.fspath(value)) < 1024:
            try:
                path = Path(text)
                if (
                    path.suffix in (".json", ".safetensors", ".bin", ".model", ".jinja", ".txt")
                    and path.is_file()
                ):
                    return path
            except (OSError, ValueError, TypeError):
                continue
    return None


def _line(frames: list[FrameType]) -> str:
    places = ((Path(frame.f_code.co_filename).name, frame.f_lineno) for frame in frames)
    own = [f"{name}:{line}" for name, line in places if name in SCRIPTS]
    return own[-1] if own else "run"


def _first_line(error: BaseException) -> str:
    said = next(
        (line.strip() for line in str(error).splitlines() if line.strip()), "it does not say why"
    )
    shown = "".join(c if c.isprintable() else " " for c in said)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."


def _keep(error: BaseException, folder: Path) -> str:
    """Writes the traceback down; says where it is."""
    text = "".join(traceback.format_exception(error))
    rank = os.environ.get("RANK", "0")
    path = folder / (LOG if rank == "0" else LOG.with_name(f"traceback-{rank}.txt"))
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8", "replace")
    except OSError as refused:
        return f"its traceback could not be written to {path} ({refused.strerror}):\n{text}"
    return f"the whole traceback is in {path}"
