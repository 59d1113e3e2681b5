"""The fingerprint: which edits recompute, and which do not.

Each project is written to disk and imported, as a user's would be, so that its source can be read.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import typing
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import polars as pl
import pytest

from platform_assets.declarations.fingerprint import _PROSE, _bytecode, _code, _describe_record, _source, fingerprint
from platform_assets.declarations.times import after, unknown, within
from platform_assets_tests import quotes, shop

PROJECT = Path(__file__).parents[2]

HELPERS = '''
"""Helpers of the project."""

STANDARD = 19

def gross(cents, rate=STANDARD):
    """With value added tax."""
    return cents * (100 + rate)

def unused():
    return 1
'''

PROJECT_SOURCE = '''
"""A project."""

import functools
import re
from dataclasses import dataclass
from datetime import timedelta

import dataframely as dy
import numpy as np
import polars as pl

from platform_assets.declarations.tables import feature_group
from platform_assets.declarations.times import Daily, after
from datetime import date
import PACKAGE.helpers as helpers

LIMIT = 100
WORDS = {"x", "y", "z"}
LOOKUP = pl.DataFrame({"n": list(range(40))})
NUMBERS = np.arange(2000)
PATTERN = re.compile("a" * 300 + "b")
HALF = 2
THIRD = 3

@dataclass(frozen=True)
class Weights:
    light: int = 1

WEIGHTS = Weights(light=4)

class Rules:
    factor = 5

    @staticmethod
    def scale(cells):
        """Scale them."""
        return cells * Rules.factor

class Bare:
    def __init__(self):
        self.size = 6

BARE = Bare()

@functools.cache
def cached(number):
    return number + 7

def times(n):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(cells):
            return function(cells) * n
        return wrapper
    return decorate

@times(8)
def decorated(cells):
    return cells + 9

thirds = functools.partial(divmod, 10)
squared = lambda number: number ** 2

def nested_helper(cells):
    return cells - 11

class Base(dy.Schema):
    key = dy.String(primary_key=True, description="The key.")
    at = dy.Datetime(nullable=False, time_zone="UTC", time_unit="us", description="When.")
    price = dy.Int64(
        min=0, max=1000, description="In cents.",
        check=lambda cents: cents != 13,
    )

    @dy.rule()
    def sane(cls):
        """Sanity."""
        return pl.col("price") < 900

class Prices(Base):
    note = dy.List(dy.String(max_length=12), description="Words.")

    @dy.rule()
    def sane(cls):
        return pl.col("price") < 800

@feature_group(
    keys=["key"], event_time="at", known_at=after("at", minutes=14), schema=Prices, max_age=timedelta(hours=15),
    lookback=timedelta(hours=16), partitions=Daily(first=date(2024, 1, 1), last=date(2024, 2, 1), zone="UTC"),
    owners=["team:prices"],
)
def prices(orders):
    """Prices."""
    # A comment.
    amount = helpers.gross(pl.col("amount")) + LIMIT
    parts = [pl.col(c) / HALF for c in ("a", "b")]
    also = (lambda cells: cells / THIRD)(amount)
    rest = [WEIGHTS.light, Rules.scale(amount), BARE.size, cached(1), decorated(amount), thirds(2), squared(3)]

    def inner(cells):
        return nested_helper(cells)

    return orders.with_columns(amount, *parts, also, inner(amount), *rest, len(LOOKUP), len(NUMBERS), PATTERN.pattern, *WORDS)
'''

_count = iter(range(10_000))


def load(tmp_path: Path, project: str, helpers: str) -> object:
    """Import a package made of the two texts; its name is another one each time, its text is not."""
    package = f"project{next(_count)}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "helpers.py").write_text(helpers)
    (folder / "declared.py").write_text(project.replace("PACKAGE", package))
    sys.path.insert(0, str(tmp_path))
    try:
        return importlib.import_module(f"{package}.declared").prices
    finally:
        sys.path.remove(str(tmp_path))


def of(tmp_path: Path, project: str = PROJECT_SOURCE, helpers: str = HELPERS) -> str:
    return fingerprint(load(tmp_path, project, helpers))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> str:
    return of(tmp_path_factory.mktemp("original"))


PROSE = [
    ("A comment.", "Another comment."),
    ('"""Prices."""', '"""Prices, explained anew."""'),
    ('"""With value added tax."""', '"""Tax included."""'),
    ('"""Sanity."""', '"""Sanity indeed."""'),
    ('"""Scale them."""', ""),
    (
        'amount = helpers.gross(pl.col("amount")) + LIMIT',
        'amount = (\n        helpers.gross(\n            pl.col("amount"),\n        )  # gross\n        + LIMIT\n    )',
    ),
    ('description="In cents."', 'description="In euro cents."'),
    ('owners=["team:prices"]', 'owners=["team:money"], tags={"domain": "prices"}'),
    ("LIMIT = 100", "LIMIT = 10 * 10"),
    ("def unused():\n    return 1", "def unused():\n    return 2"),
    ("LIMIT = 100\n", "NOT_USED = 5\nLIMIT = 100\n"),
]


@pytest.mark.parametrize(("old", "new"), PROSE)
def test_prose_and_layout_change_nothing(tmp_path: Path, original: str, old: str, new: str) -> None:
    assert (PROJECT_SOURCE + HELPERS).count(old) == 1
    assert of(tmp_path, PROJECT_SOURCE.replace(old, new), HELPERS.replace(old, new)) == original


MEANING = [
    pytest.param('pl.col("amount")) + LIMIT', 'pl.col("amount")) - LIMIT', id="an expression"),
    pytest.param('pl.col("amount")', 'pl.col("amounts")', id="a column"),
    pytest.param("LIMIT = 100", "LIMIT = 101", id="a constant"),
    pytest.param("LIMIT = 100", 'LIMIT = "100"', id="the type of a constant"),
    pytest.param("STANDARD = 19", "STANDARD = 20", id="a constant that is a default value elsewhere"),
    pytest.param("cents * (100 + rate)", "cents * (101 + rate)", id="a helper reached through its module"),
    pytest.param("HALF = 2", "HALF = 4", id="a constant used in a comprehension"),
    pytest.param("THIRD = 3", "THIRD = 4", id="a constant used in a lambda"),
    pytest.param("cells - 11", "cells - 12", id="a helper of a nested function"),
    pytest.param("number + 7", "number + 8", id="a cached helper"),
    pytest.param("@times(8)", "@times(9)", id="what a helper is decorated with"),
    pytest.param("cells + 9", "cells + 10", id="a decorated helper"),
    pytest.param("function(cells) * n", "function(cells) / n", id="the decorator of a helper"),
    pytest.param("divmod, 10", "divmod, 11", id="a partial"),
    pytest.param("number ** 2", "number ** 3", id="a lambda"),
    pytest.param("Weights(light=4)", "Weights(light=5)", id="a record"),
    pytest.param("factor = 5", "factor = 6", id="a class"),
    pytest.param("cells * Rules.factor", "cells / Rules.factor", id="a method"),
    pytest.param("self.size = 6", "self.size = 7", id="a plain object"),
    pytest.param('{"x", "y", "z"}', '{"x", "y"}', id="a set"),
    pytest.param('{"n": list(range(40))}', '{"n": [*range(20), 21, *range(21, 40)]}', id="the middle of a table"),
    pytest.param(
        "np.arange(2000)", "np.where(np.arange(2000) == 1000, 0, np.arange(2000))", id="the middle of an array"
    ),
    pytest.param('"a" * 300 + "b"', '"a" * 300 + "c"', id="the end of a pattern"),
    pytest.param("min=0, max=1000", "min=0, max=1001", id="a range of the schema"),
    pytest.param("cents != 13", "cents != 14", id="a check of the schema"),
    pytest.param("max_length=12", "max_length=13", id="a range inside a list of the schema"),
    pytest.param('pl.col("price") < 800', 'pl.col("price") < 801', id="a rule that overrides another"),
    pytest.param("minutes=14", "minutes=15", id="known_at"),
    pytest.param("max_age=timedelta(hours=15)", "max_age=timedelta(hours=14)", id="max_age"),
    pytest.param("lookback=timedelta(hours=16)", "lookback=timedelta(hours=17)", id="lookback"),
    pytest.param('2, 1), zone="UTC"', '2, 1), zone="Europe/Berlin"', id="the zone of the days"),
]


@pytest.mark.parametrize(("old", "new"), MEANING)
def test_meaning_changes_it(tmp_path: Path, original: str, old: str, new: str) -> None:
    assert (PROJECT_SOURCE + HELPERS).count(old) == 1
    assert of(tmp_path, PROJECT_SOURCE.replace(old, new), HELPERS.replace(old, new)) != original


def test_a_rule_that_is_overridden_does_not_count(tmp_path: Path, original: str) -> None:
    assert of(tmp_path, PROJECT_SOURCE.replace('pl.col("price") < 900', 'pl.col("price") < 901')) == original


def test_it_is_the_same_in_every_process(tmp_path: Path, original: str) -> None:
    load(tmp_path, PROJECT_SOURCE, HELPERS)
    folder = next(tmp_path.iterdir())
    code = dedent(f"""
        from platform_assets.declarations.fingerprint import fingerprint
        from {folder.name}.declared import prices
        from platform_assets_tests import shop
        print(fingerprint(prices), *(f"{{n}}={{v}}" for n, v in sorted(shop.CATALOGUE.fingerprints.items())))
    """)

    def said(seed: str) -> str:
        environ = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}"}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    here = " ".join([original, *(f"{n}={v}" for n, v in sorted(shop.CATALOGUE.fingerprints.items()))])
    assert said("1") == said("2") == here


@pytest.mark.parametrize(
    "change",
    [
        {"owners": ["someone@example.org"]},
        {"description": "Otherwise said."},
        {"tags": {"domain": "shop"}},
        {"freshness": within(hours=1)},
    ],
)
@pytest.mark.parametrize("name", sorted(d.name for d in shop.DECLARATIONS))
def test_the_prose_of_every_kind_of_declaration_changes_nothing(name: str, change: dict[str, object]) -> None:
    declared = shop.CATALOGUE[name]
    assert fingerprint(replace(declared, **change)) == fingerprint(declared)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("orders", {"on_invalid": "fail"}),
        ("orders", {"raw": shop.orders.raw | {"note": pl.String}}),
        ("products", {"keys": ["product", "category"]}),
        ("customer_history", {"sql": "SELECT 1"}),
        ("customer_history", {"inputs": ["orders", "returns"]}),
        ("order_returned", {"lookahead": timedelta(hours=47)}),
        ("orders_asked", {"prediction_time": after("ordered_at", minutes=1)}),
        ("orders_asked", {"features": [shop.product_sales.select("orders_24h")]}),
        ("orders_asked", {"features": [replace(shop.product_sales, max_age=timedelta(1)).select()]}),
        ("returns_dataset", {"split": replace(shop.returns_dataset.split, gap=timedelta(days=1))}),
        ("return_model", {"learner": replace(shop.return_model.learner, seed=1)}),
        ("return_model", {"learner": replace(shop.return_model.learner, parameters={"num_leaves": 7})}),
        ("return_model", {"request": ["weekday"], "categories": []}),
        ("return_model", {"baselines": {}}),
    ],
)
def test_every_setting_that_reaches_a_value_changes_it(name: str, change: dict[str, object]) -> None:
    declared = shop.CATALOGUE[name]
    assert fingerprint(replace(declared, **change)) != fingerprint(declared)


def test_how_corrections_are_taken_changes_it_for_whom_it_changes_data() -> None:
    assert fingerprint(replace(quotes.quotes, on_correction="refuse")) != fingerprint(quotes.quotes)
    since = replace(shop.orders_asked, known="since")
    assert fingerprint(since) != fingerprint(shop.orders_asked)
    assert fingerprint(replace(shop.returns_dataset, view=since)) != fingerprint(shop.returns_dataset)


def test_a_setting_that_came_later_makes_nothing_anew_where_it_is_left_alone() -> None:
    """What was fingerprinted before `on_correction` and `known` were there has the fingerprint that it had."""
    for declared, name in (
        (shop.orders, "on_correction"),
        (shop.orders_asked, "known"),
        (shop.returns_dataset, "known"),
    ):
        described = json.dumps(_describe_record(declared, set(), _PROSE), default=str)
        assert f'"{name}": ' not in described


def test_of_what_another_declaration_computes_nothing_counts() -> None:
    slower = replace(shop.product_sales, lookback=timedelta(hours=30), transform=shop.category_sales.transform)
    view = replace(shop.orders_asked, features=[slower.select(age=True), *shop.orders_asked.features[1:]])
    assert fingerprint(view) == fingerprint(shop.orders_asked)


def test_how_stale_a_training_dataset_may_be_changes_nothing() -> None:
    tolerant = replace(shop.returns_dataset, max_stale=0.05)
    assert fingerprint(tolerant) == fingerprint(shop.returns_dataset)
    assert fingerprint(replace(shop.return_model, training=tolerant)) == fingerprint(shop.return_model)


def test_why_nobody_knows_a_time_is_prose() -> None:
    assert fingerprint(replace(shop.products, known_at=unknown("because"))) == fingerprint(shop.products)


def test_a_function_whose_source_cannot_be_read_still_has_one() -> None:
    def made(text: str) -> Callable[..., pl.LazyFrame]:
        scope: dict[str, Callable[..., pl.LazyFrame]] = {}
        exec(text, scope)  # noqa: S102 - as a notebook would
        return scope["f"]

    one, same, other = (
        made(f"def f(raw):\n    '{doc}'\n    return raw.head({n})") for doc, n in (("A", 1), ("A", 1), ("A", 2))
    )
    prints = [fingerprint(replace(shop.products, transform=function)) for function in (one, same, other)]
    assert prints[0] == prints[1] != prints[2]
    lambdas = [
        fingerprint(replace(shop.products, transform=f)) for f in (lambda raw: raw.head(1), lambda raw: raw.head(2))
    ]
    assert lambdas[0] != lambdas[1]


@pytest.mark.parametrize("module", [shop, dataclasses, typing])
def test_the_source_of_a_function_is_what_inspect_finds(module: ModuleType) -> None:
    within = [vars(held) for held in vars(module).values() if isinstance(held, type)]
    found = {
        function
        for scope in (vars(module), *within)
        for function in map(inspect.unwrap, filter(inspect.isfunction, scope.values()))
        if not function.__code__.co_filename.startswith("<")
    }
    assert len(found) > 20
    for function in found:
        assert _source(function) == inspect.getsource(function.__code__), function


@pytest.mark.parametrize(
    "edited",
    [
        "# prose\n" * 9,
        "\n" * 9,
        'X = """\na\nb\nc"""\nY = 1\n',
        "def g():\n    a = 1\n    b = 2\n    return 3\n",
        "def other(raw):\n    return raw\n",
    ],
    ids=["comments", "nothing", "the inside of a text", "the inside of another function", "another function"],
)
def test_a_function_is_not_taken_for_what_stands_at_its_line_once_the_file_is_edited(
    tmp_path: Path, edited: str
) -> None:
    file, written = tmp_path / "edited.py", "X = 1\n\n\ndef clean(raw):\n    return raw.head(1)\n"
    place = 0 if edited.count("\n") > 3 else 3
    file.write_text(written)
    spec = importlib.util.spec_from_file_location("edited", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    file.write_text("\n" * place + edited)
    assert _code(module.clean) == _bytecode(module.clean.__code__)
