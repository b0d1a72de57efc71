"""Reading a file: YAML into plain values, with the line of every key, and nothing that YAML would guess wrongly."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sibyl_runtime.workspace.errors import Location, Problem, WorkspaceInvalid, problem_at

KIND = "SibylWorkspace"
GROUP = "sibyl.dev"

_HALF = re.compile("[\ud800-\udfff]")
_NO_CHARACTER = "\ufffd"
_MOST_NODES = 200_000
_DEEPEST = 100
_TAGS = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(f"{_TAGS}{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge"))


@dataclass(frozen=True)
class SourceDocument:
    """A workspace document as read. `lines` gives the line, from 1, of each place in `raw`.

    `resource` is the whole custom resource when the file holds one, else None.
    """

    source: str
    raw: dict[str, Any]
    lines: Mapping[Location, int]
    resource: dict[str, Any] | None = None

    @property
    def name(self) -> str | None:
        """The resource's `metadata.name`, else the document's `name`, else None."""
        metadata = (self.resource or {}).get("metadata")
        named = metadata.get("name") if isinstance(metadata, dict) else None
        name = named or self.raw.get("name")
        return name if isinstance(name, str) else None


def load_document(source: str | Path, text: str | None = None) -> SourceDocument:
    """Read a workspace document, bare or within a SibylWorkspace resource, from the file `source` or from `text`.

    Raises WorkspaceInvalid when there is no such file, it is not YAML, a key occurs twice, or it holds no workspace.
    """
    name = str(source)
    documents = [_Reader(name).read(node) for node in _compose(name, _content(source) if text is None else text)]
    problems = [problem for document in documents for problem in document.problems]
    if problems:
        raise WorkspaceInvalid(problems, name)
    return _workspace_of(name, [document for document in documents if document.value is not None])


def _content(source: str | Path) -> str:
    name = str(source)
    try:
        return Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise _invalid(name, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _invalid(name, f"is not UTF-8 text: byte {error.start} cannot be decoded") from error


def _invalid(source: str, message: str, line: int | None = None) -> WorkspaceInvalid:
    return WorkspaceInvalid([Problem("", message, line)], source)


class _Loader(yaml.SafeLoader):
    """YAML's safe types without dates: `2024-01-01` is text here, as it is for Kubernetes."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAGS}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _compose(source: str, text: str) -> list[yaml.Node]:
    try:
        return [node for node in yaml.compose_all(text, Loader=_Loader) if node is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _invalid(source, f"is not YAML: {error.problem}", mark.line + 1 if mark else None) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        raise _invalid(source, f"is not YAML: {error.reason}", line) from error
    except RecursionError as error:
        raise _invalid(source, "is nested too deeply") from error


@dataclass(frozen=True)
class _Read:
    value: Any
    lines: dict[Location, int]
    problems: list[Problem]


@dataclass
class _Reader:
    """Turns one YAML document into values. Counts what it builds: aliases can make a small file enormous."""

    source: str
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _nodes: int = 0
    _constructor: _Loader = field(default_factory=lambda: _Loader(""))

    def read(self, node: yaml.Node) -> _Read:
        return _Read(self._value(node, (), ()), self.lines, self.problems)

    def _value(self, node: yaml.Node, at: Location, around: tuple[yaml.Node, ...]) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(at, line)
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise _invalid(self.source, f"holds more than {_MOST_NODES} values, aliases counted where they are used")
        if any(node is outer for outer in around):
            raise _invalid(self.source, "holds an alias to something that contains it", line)
        if len(around) > _DEEPEST:
            raise _invalid(self.source, f"is nested deeper than {_DEEPEST} levels", line)
        if node.tag not in _PLAIN_TAGS:
            self._problem(at, f"the tag {node.tag.replace(_TAGS, '!!')} is not allowed; write a plain value", line)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at, (*around, node))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*at, index), (*around, node)) for index, item in enumerate(node.value)]
        return self._scalar(node, at, line)

    def _scalar(self, node: yaml.Node, at: Location, line: int) -> Any:
        try:
            value = self._constructor.construct_object(node, deep=True)
        except (yaml.constructor.ConstructorError, ValueError):
            self._problem(at, f"is not a value of its type, {node.tag.replace(_TAGS, '')}", line)
            return None
        return self._text(value, at, line) if isinstance(value, str) else value

    def _text(self, text: str, at: Location, line: int) -> str:
        """JSON writes some characters as two halves (`\\ud83d\\ude00`), which YAML does not put together."""
        if not _HALF.search(text):
            return text
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if whole.count(_NO_CHARACTER) > text.count(_NO_CHARACTER):
            self._problem(at, "holds half of a character, written as \\ud800 to \\udfff; write the whole one", line)
        return whole

    def _mapping(self, node: yaml.MappingNode, at: Location, around: tuple[yaml.Node, ...]) -> dict[str, Any]:
        self._report_duplicates(node, at)
        try:
            self._constructor.flatten_mapping(node)
        except yaml.constructor.ConstructorError as error:
            self._problem(at, f"cannot be merged: {error.problem}", node.start_mark.line + 1)
        values: dict[str, Any] = {}
        for key, value in node.value:
            name = self._key(key, at)
            if name is not None:
                self.lines[(*at, name)] = key.start_mark.line + 1
                values[name] = self._value(value, (*at, name), around)
        return values

    def _key(self, key: yaml.Node, at: Location) -> str | None:
        if isinstance(key, yaml.ScalarNode) and key.tag == f"{_TAGS}str":
            return str(key.value)
        shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
        self._problem(at, f'the key {shown} is not text; write "{shown}" in quotes', key.start_mark.line + 1)
        return None

    def _report_duplicates(self, node: yaml.MappingNode, at: Location) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_TAGS}merge":
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                earlier = first[key.value]
                self._problem((*at, str(key.value)), f"the key is written twice, in lines {earlier} and {line}", line)
            first.setdefault(key.value, line)

    def _problem(self, at: Location, message: str, line: int) -> None:
        self.problems.append(problem_at(at, message, {at: line}))


def _workspace_of(source: str, documents: list[_Read]) -> SourceDocument:
    resources = [document for document in documents if _kind(document) == KIND]
    if len(documents) == 1 and not resources:
        return _bare(source, documents[0])
    if len(resources) == 1:
        return _from_resource(source, resources[0])
    if not documents:
        raise _invalid(source, "is empty; a workspace document is needed")
    kinds = ", ".join(_kind(document) or "no kind" for document in documents)
    raise _invalid(source, f"holds {len(documents)} YAML documents ({kinds}); exactly one must be of kind {KIND}")


def _kind(document: _Read) -> str | None:
    kind = document.value.get("kind") if isinstance(document.value, dict) else None
    return kind if isinstance(kind, str) else None


def _bare(source: str, document: _Read) -> SourceDocument:
    if not isinstance(document.value, dict):
        raise _invalid(source, "must be a mapping with keys such as providers and pipelines", document.lines.get(()))
    kind = _kind(document)
    if kind is not None and "apiVersion" in document.value:
        raise _invalid(source, f"is of kind {kind}; a workspace document or a {KIND} is needed", 1)
    return SourceDocument(source, document.value, document.lines)


def _from_resource(source: str, document: _Read) -> SourceDocument:
    resource: dict[str, Any] = document.value
    version = resource.get("apiVersion")
    if not isinstance(version, str) or version.partition("/")[0] != GROUP:
        raise _at(source, document, ("apiVersion",), f"must start with {GROUP}/, found {version!r}")
    spec = resource.get("spec")
    raw = spec.get("workspace") if isinstance(spec, dict) else None
    if not isinstance(raw, dict):
        raise _at(source, document, ("spec", "workspace"), "is required: the workspace document, a mapping")
    return SourceDocument(source, raw, dict(_below(document.lines, ("spec", "workspace"))), resource)


def _below(lines: Mapping[Location, int], prefix: Location) -> Iterator[tuple[Location, int]]:
    for at, line in lines.items():
        if at[: len(prefix)] == prefix:
            yield at[len(prefix) :], line


def _at(source: str, document: _Read, at: Location, message: str) -> WorkspaceInvalid:
    return WorkspaceInvalid([problem_at(at, message, document.lines)], source)
