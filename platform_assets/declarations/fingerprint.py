"""A hash of what changes data, not of what changes prose.

The fingerprint of a declaration covers the meaning of its function (its syntax tree without
docstrings, comments and layout, and that of every function and class of the same package it names, with
the constants it names), its schema's columns and rules, and every declared setting that reaches a value:
keys, times, look-back. Owners, tags, descriptions and what may be late or stale are prose, and so are
which columns of a landed file are a date or name an event, and which promotion chooses a champion, since predictions
follow the champion itself. Of a declaration that another one refers to, only how it is read counts (keys, times, age
limit): what it computes reaches the other through its table.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import json
import linecache
import re
import textwrap
import tokenize
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import dataframely as dy
import polars as pl

from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.times import KnownAt

_PROSE = {"description", "owners", "tags", "freshness", "max_stale", "promotion", "date_parts", "event_ids"}
_COMPUTED = {"transform", "sql", "inputs", "schema", "raw", "lookback", "lookahead", "on_invalid", "on_correction"}
_UNSAID = {
    "on_correction": "refuse",
    "known": "then",
    "calibration": None,
    "interval": None,
    "costs": None,
    "tuning": None,
}
"""Settings that came after tables were made: at these values they change nothing, so that nothing is made again."""
_LITERALS = {str, int, float, bool, bytes, type(None)}
_OWN = "platform_assets.declarations."


def fingerprint(declaration: Declaration) -> str:
    """Sixteen hexadecimal digits that change when, and only when, the declared computation does."""
    described = json.dumps(_describe_record(declaration, set(), _PROSE), sort_keys=True, default=str)
    return hashlib.blake2b(described.encode(), digest_size=8).hexdigest()


def _describe(value: object, seen: set[int]) -> Any:
    if type(value) in _LITERALS:
        return repr(value)
    # A cached function (functools.cache) is what it wraps.
    value = getattr(value, "__dict__", {}).get("__wrapped__", value) if not inspect.isfunction(value) else value
    if inspect.isfunction(value):
        return _describe_function(value, seen)
    if isinstance(value, type):
        return _describe_schema(value, seen) if issubclass(value, dy.Schema) else _describe_class(value, seen)
    if isinstance(value, Declaration):
        return _describe_record(value, seen, _PROSE | _COMPUTED)
    if is_dataclass(value):
        return _describe_record(value, seen, {"reason"} if isinstance(value, KnownAt) else set())
    if isinstance(value, Mapping):
        return {repr(key): _describe(item, seen) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(_describe(item, seen)) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_describe(item, seen) for item in value]
    return _describe_plain(value, seen)


def _describe_plain(value: object, seen: set[int]) -> Any:
    if isinstance(value, functools.partial):
        return [_describe(part, seen) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, pl.Expr):
        return value.meta.serialize(format="json")
    # The text of what holds many values leaves out the middle.
    if isinstance(value, pl.DataFrame):
        return {"columns": str(value.schema), "rows": [repr(row) for row in value.iter_rows()]}
    if isinstance(value, pl.Series):
        return {"dtype": str(value.dtype), "cells": repr(value.to_list())}
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return repr(value.tolist())
    if isinstance(value, re.Pattern):
        return [value.pattern, value.flags]
    if type(value).__repr__ is object.__repr__:
        # The text of such an object is its address, which is another one in every process.
        return {
            "object": type(value).__qualname__,
            "holds": _describe(vars(value) if hasattr(value, "__dict__") else {}, seen),
        }
    return repr(value)


def _describe_record(record: Any, seen: set[int], left_out: set[str]) -> Any:
    held = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in left_out}
    if type(record).__module__.startswith(_OWN):
        held = {name: value for name, value in held.items() if name not in _UNSAID or value != _UNSAID[name]}
    return {"record": type(record).__name__} | {name: _describe(item, seen) for name, item in held.items()}


def _describe_schema(schema: type[dy.Schema], seen: set[int]) -> Any:
    # Descriptions are prose; the rest of a column's declaration decides which rows are valid.
    columns = {
        name: {
            key: _describe(item, seen)
            for key, item in vars(column).items()
            if key not in ("description", "metadata") and not key.startswith("_")
        }
        | {"type": type(column).__name__}
        for name, column in schema.columns().items()
    }
    rules = {name: _describe_function(inspect.unwrap(member), seen) for name, member in _own_rules(schema).items()}
    return {"columns": columns, "rules": rules}


def _own_rules(schema: type[dy.Schema]) -> dict[str, types.FunctionType]:
    rules = {}
    for base in reversed(schema.__mro__):  # the nearest last: it overrides
        for name, member in vars(base).items():
            function = getattr(member, "_expr", None) or getattr(member, "validation_fn", None)
            if inspect.isfunction(function):
                rules[name] = function
    return rules


def _describe_class(described: type, seen: set[int]) -> Any:
    if id(described) in seen:
        return {"again": described.__qualname__}
    seen.add(id(described))
    code = _class_code(described)
    if code is None:
        return described.__qualname__
    members = [getattr(member, "__func__", member) for member in vars(described).values()]
    written = [m for m in members if inspect.isfunction(m) and not m.__code__.co_filename.startswith("<")]
    uses = {name: value for member in written for name, value in _named(member).items()}
    return {"code": code, "uses": _describe_used(uses, described.__module__, seen)}


@functools.cache
def _class_code(described: type) -> str | None:
    try:
        return _dump(ast.parse(textwrap.dedent(inspect.getsource(described))))
    except (OSError, SyntaxError, TypeError):
        return None


def _describe_function(function: types.FunctionType, seen: set[int]) -> Any:
    if id(function) in seen:
        return {"again": function.__qualname__}
    seen.add(id(function))
    given = [_describe(value, seen) for value in (function.__defaults__, function.__kwdefaults__) if value]
    uses = _describe_used(_named(function), function.__module__, seen)
    return {"code": _code(function), "uses": uses} | ({"defaults": given} if given else {})


def _describe_used(named: Mapping[str, object], module: str | None, seen: set[int]) -> Any:
    package = _package(module)
    return {name: _describe(value, seen) for name, value in sorted(named.items()) if _is_ours(value, package)}


def _package(module: str | None) -> str:
    return (module or "").partition(".")[0]


@functools.cache
def _code(function: types.FunctionType) -> Any:
    """What a function says: its syntax tree, or its bytecode where its source cannot be read alone."""
    if function.__name__ != "<lambda>":
        try:
            tree = ast.parse(textwrap.dedent(_source(function)))
        except (OSError, SyntaxError, tokenize.TokenError):
            return _bytecode(function.__code__)
        definition = tree.body[0] if tree.body else None
        own = function.__code__.co_name
        if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)) and definition.name == own:
            definition.decorator_list = []
            return _dump(tree)
    # The lines of a lambda hold whatever stands beside it; those of a file that was edited since, something else.
    return _bytecode(function.__code__)


def _source(function: types.FunctionType) -> str:
    """What `inspect.getsource` gives, which first looks for its module among all that are loaded.

    Raises:
        OSError: when the source is not to be had.
    """
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)[code.co_firstlineno - 1 :]
    if not lines:
        msg = f"the source of {function.__qualname__} cannot be read"
        raise OSError(msg)
    return "".join(inspect.getblock(lines))


def _bytecode(code: types.CodeType) -> Any:
    constants = [_bytecode(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars]


def _named(function: types.FunctionType) -> dict[str, object]:
    """The values behind the names that a function and whatever is nested in it use, by (dotted) name."""
    named: dict[str, object] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            named[name] = cell.cell_contents
        except ValueError:  # not filled yet: the name of something that is still being defined
            continue
    for chain in _chains(function.__code__):
        value = function.__globals__.get(chain[0])
        reached = [chain[0]]
        for attribute in chain[1:]:
            ours = isinstance(value, types.ModuleType) and _package(value.__name__) == _package(function.__module__)
            if not ours or not hasattr(value, attribute):
                break
            value = getattr(value, attribute)
            reached.append(attribute)
        if chain[0] in function.__globals__:
            named[".".join(reached)] = value
    return named


@functools.cache
def _chains(code: types.CodeType) -> tuple[list[str], ...]:
    """Global names with the attributes taken of them: `rates.VAT` as `["rates", "VAT"]`."""
    return tuple(_chained(code))


def _chained(code: types.CodeType) -> Iterator[list[str]]:
    chain: list[str] = []
    for instruction in dis.get_instructions(code):
        if chain and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chain.append(str(instruction.argval))
            continue
        if chain:
            yield chain
        chain = [str(instruction.argval)] if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") else []
    if chain:
        yield chain
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _chains(constant)


def _is_ours(value: object, package: str) -> bool:
    if isinstance(value, types.ModuleType):
        return False
    if isinstance(value, functools.partial):
        return True
    if isinstance(value, type) and issubclass(value, dy.Schema):
        return True
    if inspect.isfunction(value) or isinstance(value, type) or "__wrapped__" in getattr(value, "__dict__", {}):
        return _package(getattr(value, "__module__", None)) == package
    return not callable(value) or is_dataclass(value)


def _dump(tree: ast.AST) -> str:
    return ast.dump(_without_docstrings(tree), annotate_fields=False)


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            first = body[0].value
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return tree
