"""Text, JSON and YAML files, read with care; files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

_YAML_BYTES = 2_000_000
_YAML_NODES = 200_000  # aliases counted as often as they stand for something


class SourceError(ValueError):
    """Input that cannot be read; the text is one line for the user."""


def below(folder: Path, name: str | os.PathLike[str]) -> Path:
    """Where to write what belongs to a name that a list or a label says: below a folder.

    Raises SourceError for a name that leads out of the folder, also by a link in it.
    """
    path = Path(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts
    if inside and "\0" not in str(name):
        target = folder / path
        if target.parent.resolve().is_relative_to(folder.resolve()):
            return target
    raise SourceError(f"{str(name)!r} leads out of {folder}; a name below it is needed, without ..")


def is_among(path: Path, inputs: Iterable[str | os.PathLike[str] | None]) -> bool:
    """Whether a file to write is one of the inputs, by whatever name, or lies in one."""
    if not path.exists():
        return False
    there = [Path(given) for given in inputs if given is not None and Path(given).exists()]
    return any(
        path.samefile(given) or (given.is_dir() and path.resolve().is_relative_to(given.resolve()))
        for given in there
    )


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key under which 2.jpg comes before 10.jpg."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """An empty file beside `path` to write to, with the same ending, that takes its place.

    Where the block raises, what it wrote is removed and a file that was at `path` stays as it was.
    Makes the folder if need be. A link is followed; a device or pipe is itself what to write to.
    Raises OSError, which names `path`.
    """
    target = Path(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        yield target
        return
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem[:64]}.{secrets.token_hex(8)}.partial{target.suffix}")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        # A full disk is told by a file without a name, or by one that is gone by then.
        if error.errno is not None and error.filename in (None, str(partial)):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def read_text(path: str | os.PathLike[str]) -> str:
    """A file of UTF-8 text, without the mark that some editors begin it with.

    Raises OSError, or ValueError that names the file.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason})") from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a file of UTF-8 text."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def parse_json(text: str, where: str, right: str) -> Any:
    """One JSON value. Raises ValueError: `where` it is, what is wrong, what is `right`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{where}:{error.lineno}" if error.lineno > 1 else where
        words = f"{error.msg} at column {error.colno}"
    except (ValueError, RecursionError) as error:
        place = where
        words = "nested too deep" if isinstance(error, RecursionError) else str(error)
    raise ValueError(f"{place}: not JSON ({words}); {right}")


def read_json_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file with one on each line, and their line numbers from 1.

    Blank lines are skipped. Raises ValueError naming file and line where one is no JSON object.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        record = parse_json(line, where, "each line must be one JSON object")
        if not isinstance(record, dict):
            raise ValueError(f"{where}: a JSON object is needed, not {type(record).__name__}")
        yield number, record


@contextmanager
def writing_lines(path: str | os.PathLike[str]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Gives a function that adds one JSON object as a line of the file."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        yield lambda record: print(json.dumps(record), file=file)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes one JSON value, indented."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """The value in a YAML file; see `parse_yaml`. Raises OSError, or ValueError naming the file."""
    if Path(path).stat().st_size > _YAML_BYTES:
        raise ValueError(f"{path}: not YAML of at most {_YAML_BYTES / 1e6:g} MB")
    try:
        return parse_yaml(read_text(path))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({' '.join(str(error).split())})") from error


def parse_yaml(text: str) -> Any:
    """A YAML value of plain types; None of an empty text.

    Raises yaml.YAMLError, also for aliases that multiply or hold themselves, deep nesting and
    values that Python does not take, such as the 31st of February.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count_nodes(node, {})
        return loader.construct_document(node)
    except RecursionError as error:
        raise yaml.YAMLError("nested too deep") from error
    # Values that do not fit their tags surface as they happen to.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise yaml.YAMLError(str(error)) from error
    finally:
        loader.dispose()


def _count_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes a node stands for, its aliases followed; known: those counted, by id."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _YAML_NODES + 1  # if it is met again on the way, it holds itself
    inside = [] if isinstance(node, yaml.ScalarNode) else node.value
    parts = [part for entry in inside for part in (entry if isinstance(entry, tuple) else (entry,))]
    count = 1 + sum(_count_nodes(part, known) for part in parts)
    if count > _YAML_NODES:
        raise yaml.YAMLError(f"its aliases stand for more than {_YAML_NODES} values")
    known[id(node)] = count
    return count
