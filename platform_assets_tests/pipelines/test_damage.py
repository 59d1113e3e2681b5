"""A lazy frame fails where it is collected, deep in a pipeline; what comes out of the one door names the table."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.declaration import Declaration
from platform_assets.declarations.models import Model
from platform_assets.declarations.names import table_folder
from platform_assets.declarations.times import Days
from platform_assets.errors import TableError
from platform_assets.pipelines.run import Platform
from platform_assets.pipelines.summary import summarize
from platform_assets_tests import shop
from platform_assets_tests.lake.test_damage import DATA

DAY = date(2024, 4, 9)
READS = [
    (reader.name, read.name)
    for reader in shop.CATALOGUE.declarations
    for read in shop.CATALOGUE.inputs(reader)
    if not isinstance(read, Model)
]
CASES = [
    pytest.param(
        reader,
        read,
        loss,
        id=f"{reader} reads {read} {loss}",
        marks=() if (m + n) % len(DATA) == 0 else pytest.mark.slow,
    )
    for m, (reader, read) in enumerate(READS)
    for n, loss in enumerate(DATA)
]
"""Every table that is read by every reader, each in another way damaged; the slow ones in every way."""


@pytest.fixture(scope="module")
def there(finished_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    root = tmp_path_factory.mktemp("damage") / "shop"
    shutil.copytree(finished_shop, root, copy_function=shutil.copy2)
    return shop.platform(root)


@pytest.fixture
def spoil(there: Platform) -> Iterator[Callable[[str, Callable[[Path], object]], Path]]:
    """Damages the file of a table (of `DAY`, when it has days), and puts it right after the test."""
    copies: dict[Path, bytes] = {}

    def damage(name: str, loss: Callable[[Path], object]) -> Path:
        uris = there.lake.open(table_folder("shop", name)).file_uris()
        path = next(Path(uri) for uri in uris if f"day={DAY}" in uri or len(uris) == 1)
        copies[path] = path.read_bytes()
        loss(path)
        return path

    yield damage
    for path, content in copies.items():
        path.write_bytes(content)


def test_every_kind_that_reads_a_table_is_among_them() -> None:
    readers: set[type[Declaration]] = {type(shop.CATALOGUE[reader]) for reader, _ in READS}
    assert {kind.__name__ for kind in readers} == {
        "FeatureGroup",
        "Label",
        "FeatureView",
        "TrainingDataset",
        "Model",
        "Predictions",
        "Outcomes",
    }
    assert len(READS) == 17


@pytest.mark.parametrize(("reader", "read", "loss"), CASES)
def test_a_damaged_input_is_named_with_its_file_and_what_to_do(
    there: Platform, spoil: Callable[..., Path], reader: str, read: str, loss: str
) -> None:
    act, says = DATA[loss]
    path = spoil(read, act)
    day = f"{DAY} of " if "day=" in str(path) else ""
    ledger_before, version = there.lake.version("ledger"), there.lake.version(table_folder("shop", reader))
    with pytest.raises(
        TableError,
        match=rf"cannot read the table at \S+/shop/{read}: \S*{path.name} {says}; restore from a copy, "
        rf"or materialize {day}shop/{read} again, which replaces what is damaged",
    ):
        shop.make(there, reader, days=Days(DAY, DAY))
    assert there.lake.version("ledger") == ledger_before, "nothing was recorded"
    assert there.lake.version(table_folder("shop", reader)) == version, "and nothing written"


def test_a_source_that_reads_another_names_it_too(there: Platform, spoil: Callable[..., Path]) -> None:
    def priced(raw: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
        """Orders of known products."""
        return shop.orders.transform(raw).join(products.select("product"), on="product", how="semi")

    catalogue = shop.with_changed("orders", transform=priced)
    path = spoil("products", DATA["cut off"][0])
    with pytest.raises(TableError, match=rf"shop/products: {path.name} has 300 of [\d,]+ bytes"):
        shop.make(there, "orders", days=Days(DAY, DAY), catalogue=catalogue)


def test_what_it_says_to_do_mends_it(there: Platform) -> None:
    wanted = there.lake.scan("shop/orders").collect().sort("order_id")
    next(Path(uri) for uri in there.lake.open("shop/orders").file_uris() if f"day={DAY}" in uri).unlink()
    with pytest.raises(TableError, match=f"materialize {DAY} of shop/orders again"):
        shop.make(there, "product_sales", days=Days(DAY, DAY + timedelta(days=1)))
    mended = shop.make(there, "orders", days=Days(DAY, DAY))[0]
    assert mended.is_new
    assert there.lake.scan("shop/orders").collect().sort("order_id").equals(wanted)
    assert not shop.make(there, "product_sales", days=Days(DAY, DAY + timedelta(days=1)))[0].is_new


def test_a_mistake_in_a_function_is_not_blamed_on_a_table(there: Platform) -> None:
    def wrong(orders: pl.LazyFrame) -> pl.LazyFrame:
        """Sales that cannot be."""
        return orders.select(
            "product",
            event_time="ordered_at",
            orders_24h=pl.col("customer").str.to_integer(strict=True),
            amount_mean_24h=pl.lit(1.0),
        )

    catalogue: Catalogue = shop.with_changed("product_sales", transform=wrong)
    with pytest.raises(pl.exceptions.PolarsError, match=r"c\d\d"):
        shop.make(there, "product_sales", days=Days(DAY, DAY), catalogue=catalogue)


def test_the_summary_names_a_table_that_cannot_be_read(there: Platform, spoil: Callable[..., Path]) -> None:
    spoil("return_outcomes", DATA["cut off"][0])
    with pytest.raises(TableError, match=rf"shop/return_outcomes: day={DAY}\S+ has 300 of"):
        summarize(there, shop.CATALOGUE)
