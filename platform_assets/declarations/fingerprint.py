"""A hash of what changes data, not of what changes prose.

The fingerprint of a declaration covers the meaning of its function (its syntax tree without
docstrings, comments and layout, and that of every function of the same package it calls, with the
constants it names), its schema's columns and rules, and every declared setting that reaches a value:
keys, times, look-back. Owners, tags, descriptions and freshness are prose. Of a declaration that
another one refers to, only how it is read counts (keys, times, age limit): what it computes reaches
the other through its table.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import dataframely as dy
import polars as pl

from platform_assets.declarations.tables import Declaration

_PROSE = {"description", "owners", "tags", "freshness"}
_COMPUTED = {"transform", "sql", "inputs", "schema", "raw", "lookback", "lookahead", "on_invalid"}


def fingerprint(declaration: Declaration) -> str:
    """Sixteen hexadecimal digits that change when, and only when, the declared computation does."""
    described = json.dumps(_describe_record(declaration, set(), _PROSE), sort_keys=True, default=str)
    return hashlib.blake2b(described.encode(), digest_size=8).hexdigest()


def _describe(value: object, seen: set[int]) -> Any:
    if inspect.isfunction(value):
        return _describe_function(value, seen)
    if isinstance(value, type) and issubclass(value, dy.Schema):
        return _describe_schema(value, seen)
    if isinstance(value, Declaration):
        return _describe_record(value, seen, _PROSE | _COMPUTED)
    if is_dataclass(value) and not isinstance(value, type):
        return _describe_record(value, seen, _PROSE)
    if isinstance(value, Mapping):
        return {str(key): _describe(item, seen) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(_describe(item, seen)) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_describe(item, seen) for item in value]
    if isinstance(value, pl.Expr):
        return value.meta.serialize(format="json")
    return repr(value) if isinstance(value, (float, bytes)) else str(value)


def _describe_record(record: Any, seen: set[int], left_out: set[str]) -> Any:
    held = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in left_out}
    return {"record": type(record).__name__} | {name: _describe(item, seen) for name, item in held.items()}


def _describe_schema(schema: type[dy.Schema], seen: set[int]) -> Any:
    # Descriptions are prose; the rest of a column's declaration decides which rows are valid.
    columns = {
        name: {key: _describe(item, seen) for key, item in vars(column).items()
               if key not in ("description", "metadata") and not key.startswith("_")} | {"type": type(column).__name__}
        for name, column in schema.columns().items()
    }
    rules = {
        name: _describe_function(inspect.unwrap(member), seen)
        for name, member in _own_rules(schema)
    }
    return {"columns": columns, "rules": rules}


def _own_rules(schema: type[dy.Schema]) -> Iterator[tuple[str, Callable[..., Any]]]:
    for base in schema.__mro__:
        for name, member in vars(base).items():
            function = getattr(member, "_expr", None) or getattr(member, "validation_fn", None)
            if inspect.isfunction(function):
                yield name, function


def _describe_function(function: types.FunctionType | Callable[..., Any], seen: set[int]) -> Any:
    if id(function) in seen:
        return {"again": getattr(function, "__qualname__", str(function))}
    seen.add(id(function))
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
        definition.decorator_list = []
    code = ast.dump(_without_docstrings(tree), annotate_fields=False)
    used = inspect.getclosurevars(function)
    named = {**used.globals, **used.nonlocals}
    package = (getattr(function, "__module__", "") or "").split(".")[0]
    return {"code": code, "uses": {
        name: _describe(value, seen) for name, value in sorted(named.items()) if _is_ours(value, package)
    }}


def _is_ours(value: object, package: str) -> bool:
    if isinstance(value, types.ModuleType):
        return False
    if inspect.isfunction(value):
        return value.__module__.split(".")[0] == package
    if isinstance(value, type):
        return issubclass(value, dy.Schema)
    return not callable(value) or is_dataclass(value)


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            first = body[0].value
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return tree
