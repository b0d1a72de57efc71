"""Finds the files of a corpus below a directory: sorted, without hidden ones, and never outside the directory.

Symbolic links are followed only to files and directories inside the root that are not found under their own name:
that is how a Kubernetes ConfigMap volume presents its files (links into a hidden directory). Everything else that is
linked would be read twice, escape the root, or go round in a loop.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sibyl_runtime.errors import IngestError
from sibyl_runtime.techniques.documents.events import Skipped

Matcher = Callable[[str], bool]

_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|\{[^{}/]*\}|.", re.DOTALL)


@dataclass(frozen=True)
class CorpusFile:
    """A file to read; `name` is its path relative to the root, with slashes."""

    path: Path
    name: str


@dataclass(frozen=True)
class Corpus:
    """What was found. `root` is the resolved directory, or the resolved file when one file was given."""

    root: Path
    files: tuple[CorpusFile, ...]
    skipped: tuple[Skipped, ...] = ()


def discover(path: Path, pattern: str) -> Corpus:
    """The files at or below `path` that match `pattern`.

    Raises IngestError when there is nothing at `path` or the pattern leads out of it. `pattern` knows `*`, `?`,
    `[...]`, `{a,b}` and `**` for any number of directories; it is not applied to a single file.
    """
    matches = matcher(pattern)
    try:
        root = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise IngestError(
            f"cannot ingest {path}: {reason}; relative paths start at {Path.cwd()}", details={"path": str(path)}
        ) from error
    if root.is_file():
        return Corpus(root, (CorpusFile(root, root.name),))
    if not root.is_dir():
        raise IngestError(f"cannot ingest {path}: it is neither a file nor a directory", details={"path": str(path)})
    walk = _Walk(root, matches)
    walk.run()
    return Corpus(root, tuple(sorted(walk.files, key=lambda file: file.name)), tuple(walk.skipped))


def matcher(pattern: str) -> Matcher:
    """The test for relative paths that `pattern` describes."""
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise IngestError(f'pattern "{pattern}" leads out of the directory; it must be relative, without ".."')
    expression = re.compile("".join(_translated(part) for part in _GLOB.findall(pattern)))
    return lambda name: expression.fullmatch(name) is not None


def _translated(part: str) -> str:
    fixed = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in fixed:
        return fixed[part]
    if len(part) > 2 and part[0] == "[":
        inner = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return f"[^{inner[1:]}]" if inner[0] == "!" else f"[{inner}]"
    if len(part) > 1 and part[0] == "{":
        return "(?:" + "|".join(matcher_source(option) for option in part[1:-1].split(",")) + ")"
    return re.escape(part)


def matcher_source(pattern: str) -> str:
    """The regular expression of one alternative inside braces."""
    return "".join(_translated(part) for part in _GLOB.findall(pattern))


@dataclass
class _Walk:
    root: Path
    matches: Matcher
    files: list[CorpusFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    links: list[tuple[Path, str]] = field(default_factory=list)
    walked: set[Path] = field(default_factory=set)
    found: set[Path] = field(default_factory=set)

    def run(self) -> None:
        """Real directories first: what they hold goes under its own name, and links to it add nothing."""
        self._directory(self.root, "")
        while self.links:
            links, self.links = sorted(self.links, key=lambda link: link[1]), []
            for path, name in links:
                self._link(path, name)

    def _directory(self, top: Path, prefix: str) -> None:
        waiting = [(top, prefix)]
        while waiting:
            directory, prefix = waiting.pop()
            self.walked.add(directory)
            for entry in self._entries(directory, prefix):
                name = prefix + entry.name
                if entry.is_symlink():
                    self.links.append((Path(entry.path), name))
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append((directory / entry.name, f"{name}/"))
                else:
                    self._file(Path(entry.path), name)

    def _entries(self, directory: Path, prefix: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(directory) as entries:
                listed = list(entries)
        except OSError as error:
            reason = f"the directory cannot be read: {error.strerror}"
            self.skipped.append(Skipped(prefix or ".", reason, may_hide=True))
            return
        for entry in listed:
            if entry.name.startswith("."):
                continue
            if not _is_utf8(entry.name):
                self.skipped.append(Skipped(printable(prefix + entry.name), "its name is not valid UTF-8"))
                continue
            yield entry

    def _file(self, path: Path, name: str) -> None:
        if not self.matches(name):
            return
        if not path.is_file():
            self.skipped.append(Skipped(name, "not a regular file"))
            return
        self.found.add(path)
        self.files.append(CorpusFile(path, name))

    def _link(self, path: Path, name: str) -> None:
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            self.skipped.append(Skipped(name, "a symbolic link that leads nowhere"))
            return
        if not target.is_relative_to(self.root):
            self.skipped.append(Skipped(name, "a symbolic link out of the directory; not followed"))
        elif target in self.walked or target in self.found:
            self.skipped.append(
                Skipped(name, f"a symbolic link to {target.relative_to(self.root).as_posix()}, which is read itself")
            )
        elif target.is_dir():
            self._directory(target, f"{name}/")
        else:
            self._file(target, name)


def _is_utf8(name: str) -> bool:
    return printable(name) == name


def printable(name: str) -> str:
    """`name` with bytes that are not UTF-8 shown as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
