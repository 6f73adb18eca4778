"""`REV:PATH`: a spec or a run directory as a revision of git has it, taken out with its data."""

from __future__ import annotations

import posixpath
import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..diagnostics.diagnostic import CompileError, Diagnostic
from ..diagnostics.guess import nearest
from ..diagnostics.tree import is_array, is_table
from ..run_dir.lock import LOCK

# The colon that ends the revision: not one in braces, as in HEAD^{/fix: this}.
FORM = re.compile(r"(?P<revision>(?:[^:{}]|\{[^}]*\})*):(?P<path>.*)", re.S)


@dataclass(frozen=True)
class Place:
    """Where a side of a difference can be read.

    `path`: the file or directory; `home`: where it stands, or would stand, in the working tree.
    What was taken out of a revision is below `root`, which stands for `revision` and a colon.
    """

    path: Path
    home: Path
    root: Path | None = None
    revision: str = ""

    def named(self, text: str) -> str:
        """The text with the places of temporary files named as git does."""
        return text.replace(f"{self.root}/", f"{self.revision}:") if self.root else text


@dataclass(frozen=True)
class Repository:
    root: Path

    def run(self, *arguments: str) -> bytes | None:
        """What git says, or None if it fails."""
        return _git(self.root, *arguments)

    def names(self, tree: str, *paths: str) -> list[tuple[str, str, str]]:
        """(mode, object, path) of each file of a tree at or below these paths."""
        command = ("--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", tree, "--")
        entries = (self.run(*command, *paths) or b"").decode("utf-8", "surrogateescape")
        found: list[tuple[str, str, str]] = []
        for entry in entries.split("\0"):
            if entry:
                about, _, path = entry.partition("\t")
                mode, _, digest = about.split(" ")
                found.append((mode, digest, path))
        return found


def _git(folder: Path, *arguments: str) -> bytes | None:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def take_out(text: str, folder: Path) -> Place:
    """Writes what `REV:PATH` names, and the files that it refers to, below `folder`.

    The files are as a checkout of that revision has them. Raises CompileError.
    """
    match = FORM.fullmatch(text)
    revision, path = match.group("revision", "path") if match else ("", "")
    repository, prefix = _repository(text)
    tree = _tree(repository, revision, text)
    if path in (".", "..") or path.startswith(("./", "../")):
        path = posixpath.normpath(posixpath.join(prefix, path))
    path = "" if path == "." else path.rstrip("/")
    kind = repository.run("cat-file", "-t", f"{tree}:{path}")
    if kind is None:
        raise _no_path(repository, tree, revision, prefix, path)
    files = _Files(repository, tree, folder)
    files.take(path)
    if kind.strip() == b"blob":
        for name in _named_by(folder / path):
            files.take(posixpath.normpath(posixpath.join(posixpath.dirname(path), name)))
    return Place(folder / path, repository.root / path, folder, revision)


class _Files:
    """Takes files of a tree out to a folder, each once; links with what they point to."""

    def __init__(self, repository: Repository, tree: str, folder: Path) -> None:
        self.repository, self.tree, self.folder = repository, tree, folder

    def take(self, path: str) -> None:
        """The file at `path`, or all below it. What the tree lacks is left out."""
        if path.startswith(("..", "/")):
            return  # not in the repository
        for mode, digest, name in self.repository.names(self.tree, *([path] if path else [])):
            target = self.folder / name
            if target.is_symlink() or target.exists() or mode == "160000":  # a submodule
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if mode == "120000":
                link = (self.repository.run("cat-file", "blob", digest) or b"").decode()
                target.symlink_to(link)
                self.take(posixpath.normpath(posixpath.join(posixpath.dirname(name), link)))
            else:
                content = self.repository.run("cat-file", "--filters", f"{self.tree}:{name}")
                target.write_bytes(content or b"")


def _named_by(spec: Path) -> Iterator[str]:
    """What a spec may name beside itself: its data files, its base, its chat template."""
    try:
        data: dict[str, Any] = tomllib.loads(spec.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return  # the compiler says what is wrong with it
    model, sources = data.get("model"), data.get("data")
    found = [model.get(key) for key in ("base", "chat_template")] if is_table(model) else []
    for group in ("train", "validation"):
        tables = sources.get(group) if is_table(sources) else None
        found += [t.get("source") for t in tables if is_table(t)] if is_array(tables) else []
    for name in found:
        if isinstance(name, str) and name.strip("./") and "\0" not in name:
            yield name


def _repository(text: str) -> tuple[Repository, str]:
    """The repository that the working directory is in, and the way from its root to there."""
    try:
        root = _git(Path(), "rev-parse", "--show-toplevel")
        prefix = _git(Path(), "rev-parse", "--show-prefix")
    except OSError:
        hint = "install git, or name a file"
        message = "to read a revision ftc needs git, and there is none"
        raise _error("no-git", message, text, hint) from None
    if root is None or prefix is None:
        message = "there is no such file, and this folder is in no git repository"
        hint = "check the path, or call ftc inside of the repository that has the revision"
        raise _error("no-repository", message, text, hint)
    names = (name.decode("utf-8", "surrogateescape").rstrip("\n") for name in (root, prefix))
    top, inside = names
    return Repository(Path(top)), inside


def _tree(repository: Repository, revision: str, text: str) -> str:
    """The tree of a revision, or of the index for an empty one."""
    found = None
    if not revision:
        found = repository.run("write-tree")
    elif not revision.startswith("-") and "\0" not in revision:
        command = ("rev-parse", "--verify", "--quiet", "--end-of-options")
        found = repository.run(*command, f"{revision}^{{tree}}")
    if found is not None:
        return found.decode().strip()
    if not revision:
        message = "what is staged has conflicts, so it is no revision yet"
        hint = "resolve them, and `git add` the files"
        raise _error("unknown-revision", message, text, hint)
    refs = repository.run("for-each-ref", "--format=%(refname:short)") or b""
    near = nearest(revision, refs.decode("utf-8", "replace").split())
    hints = [f"did you mean `{near}`?"] if near else []
    hints.append("`git log --oneline` lists the revisions that there are")
    message = f"git knows no revision `{revision}`, and there is no such file"
    raise _error("unknown-revision", message, text, *hints)


def _no_path(
    repository: Repository, tree: str, revision: str, prefix: str, path: str
) -> CompileError:
    where = f"revision {revision}" if revision else "what is staged"
    message = f"{where} has no {path}"
    names = [name for _, _, name in repository.names(tree)]
    here = posixpath.join(prefix, path)
    hints = [f"did you mean `{revision}:./{path}`?"] if prefix and here in names else []
    runs = [posixpath.dirname(name) for name in names if posixpath.basename(name) == LOCK]
    near = nearest(path, [name for name in names if name.endswith(".toml")] + runs)
    hints += [f"did you mean `{revision}:{near}`?"] if near and not hints else []
    hints.append("a path is relative to the repository's root, or to this folder after ./")
    return _error("not-in-revision", message, f"{revision}:{path}", *hints)


def _error(code: str, message: str, text: str, *hints: str) -> CompileError:
    return CompileError([Diagnostic(code, message, text, hints=hints)])
