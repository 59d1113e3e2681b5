"""A small project of its own for the tests: a shop in Berlin that asks, order by order, "will it come back?".

Forty days of a few orders each, over the night the clocks go forward (31 March 2024): two dated sources and a
snapshot, a Polars group, an SQL group and a group made of another group, a label that comes in late, a view,
a training dataset, a model, its predictions and their outcomes.

    root = tmp_path
    shop.land(root / "landing", shop.DELIVERED)
    there = shop.platform(root)
    shop.refresh(there)
"""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import dataframely as dy
import duckdb
import polars as pl

from platform_assets.compute.windows import ratio, sums_at_ticks
from platform_assets.declarations.catalogue import Catalogue, calendar
from platform_assets.declarations.models import Costs, LightGBM, Model, Outcomes, Predictions
from platform_assets.declarations.promotion import Promotion
from platform_assets.declarations.tables import FeatureGroup, feature_group, label, source
from platform_assets.declarations.times import Daily, Days, Window, after, unknown, within
from platform_assets.declarations.tuning import Tuning, choice, real, whole
from platform_assets.declarations.views import TimeSplit, TrainingDataset, feature_view
from platform_assets.lake.landing import Landing
from platform_assets.lake.tables import Lake
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.plan import Plan, plan
from platform_assets.pipelines.run import Materialization, Platform, Run
from platform_assets.registry.models import Registry

BERLIN = "Europe/Berlin"
OPEN = Daily(first=date(2024, 3, 11), last=date(2024, 4, 14), zone=BERLIN)
"""The days on which the shop sold."""
OPEN_AND_TAIL = Daily(first=OPEN.first, last=date(2024, 4, 17), zone=BERLIN)
"""The same and the three days in which the last orders could still come back."""
SOLD = Days(date(2024, 3, 11), date(2024, 4, 14))
DELIVERED = Days(date(2024, 3, 11), date(2024, 4, 17))
CLOCKS_FORWARD = date(2024, 3, 31)
PREDICTED_FROM = date(2024, 4, 1)
"""Some of these days lie before the model's *report*, so that some predictions are in-sample."""
NOW = datetime(2024, 4, 20, 12, tzinfo=UTC)
"""An instant at which every day is over and every label in."""
RETURNED_WITHIN = timedelta(hours=48)

_TICK = timedelta(hours=6)
_PRODUCTS = {"chair": "home", "lamp": "home", "boots": "wear", "coat": "wear", "scarf": "wear"}
_CUSTOMERS = [f"c{n:02}" for n in range(12)]
_OWNERS = ["team:shop"]


def _text(description: str, *, key: bool = False) -> dy.String:
    return dy.String(primary_key=key, nullable=False, description=description)


def _instant(description: str, *, key: bool = False) -> dy.Datetime:
    return dy.Datetime(primary_key=key, nullable=False, time_zone="UTC", time_unit="us", description=description)


class Products(dy.Schema):
    product = _text("The product.", key=True)
    category = _text("home or wear.")


class Orders(dy.Schema):
    order_id = _text("The order.", key=True)
    customer = _text("Who ordered.")
    product = _text("What was ordered.")
    amount_cents = dy.Int32(nullable=False, min=1, max=20_000, description="Price in euro cents.")
    cancelled = dy.Bool(nullable=False, description="Whether it was called off before it was sent.")
    ordered_at = _instant("When it was ordered (UTC).")


class Returns(dy.Schema):
    order_id = _text("The order.", key=True)
    returned_at = _instant("When it came back (UTC).")


class ProductSales(dy.Schema):
    product = _text("The product.", key=True)
    event_time = _instant("End of the 24 hours (UTC).", key=True)
    orders_24h = dy.Int64(nullable=False, min=1, description="Orders of the last 24 hours.")
    amount_mean_24h = dy.Float64(nullable=True, description="Mean price of those orders in euro cents.")


class CustomerHistory(dy.Schema):
    customer = _text("The customer.", key=True)
    event_time = _instant("The order up to which is counted (UTC).", key=True)
    orders_3d = dy.Int64(nullable=False, min=1, description="Orders of the last 3 days.")
    spent_3d = dy.Int64(nullable=False, min=1, description="Euro cents of the last 3 days.")


class CategorySales(dy.Schema):
    category = _text("home or wear.", key=True)
    event_time = _instant("End of the 24 hours (UTC).", key=True)
    orders_24h = dy.Int64(nullable=False, min=1, description="Orders of the last 24 hours.")


class OrderOutcome(dy.Schema):
    order_id = _text("The order.", key=True)
    ordered_at = _instant("When it was ordered (UTC).")
    known_at = _instant("When it came back, or 48 hours after the order (UTC).")
    returned = dy.Bool(nullable=True, description="Whether it came back within 48 hours; null if called off.")


class AskedOrder(dy.Schema):
    order_id = _text("The order.", key=True)
    customer = _text("Who ordered.")
    product = _text("What was ordered.")
    category = dy.String(nullable=True, description="home or wear.")
    amount_cents = dy.Int32(nullable=False, description="Price in euro cents.")
    weekday = dy.Int8(nullable=False, min=1, max=7, description="Weekday in Berlin, Monday 1.")
    ordered_at = _instant("When it was ordered (UTC).")


@source(
    keys=["product"],
    known_at=unknown("the list of products is undated"),
    schema=Products,
    raw={"product": pl.String, "category": pl.String},
    owners=_OWNERS,
)
def products(raw: pl.LazyFrame) -> pl.LazyFrame:
    """What the shop sells."""
    return raw.select("product", "category")


@source(
    keys=["order_id"],
    event_time="ordered_at",
    known_at=after("ordered_at"),
    partitions=OPEN,
    schema=Orders,
    raw={
        "order_id": pl.String,
        "customer": pl.String,
        "product": pl.String,
        "amount_cents": pl.Int32,
        "cancelled": pl.Boolean,
        "ordered_at": pl.String,
    },
    freshness=within(hours=36),
    owners=_OWNERS,
)
def orders(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Orders as they were placed."""
    return raw.with_columns(
        pl.col("ordered_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC", strict=False)
    )


@source(
    keys=["order_id"],
    event_time="returned_at",
    known_at=after("returned_at"),
    partitions=OPEN_AND_TAIL,
    schema=Returns,
    raw={"order_id": pl.String, "returned_at": pl.String},
    on_invalid="fail",
    freshness=within(hours=36),
    owners=_OWNERS,
)
def returns(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Orders that came back."""
    return raw.with_columns(
        pl.col("returned_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC", strict=False)
    )


@feature_group(
    keys=["product"],
    event_time="event_time",
    known_at=after("event_time"),
    partitions=OPEN,
    schema=ProductSales,
    lookback=timedelta(hours=24),
    max_age=timedelta(hours=6),
    owners=_OWNERS,
)
def product_sales(orders: pl.LazyFrame, window: Window) -> pl.LazyFrame:
    """Sales of a product over the last 24 hours, every six hours."""
    sold = orders.select(
        "product",
        active_from=pl.col("ordered_at") + timedelta(microseconds=1),
        active_until=pl.col("ordered_at") + timedelta(hours=24),
        orders_24h=pl.lit(1, pl.Int64),
        amount=pl.col("amount_cents").cast(pl.Int64),
    )
    sums = sums_at_ticks([sold], keys=["product"], window=window, step=_TICK)
    return sums.select("product", "event_time", "orders_24h", amount_mean_24h=ratio("amount", "orders_24h"))


customer_history = FeatureGroup(
    name="customer_history",
    description="What a customer bought in the last three days, order by order.",
    keys=["customer"],
    event_time="event_time",
    known_at=after("event_time"),
    partitions=OPEN,
    schema=CustomerHistory,
    lookback=timedelta(days=3),
    max_age=timedelta(days=5),
    inputs=["orders"],
    sql="""
        SELECT DISTINCT customer, ordered_at AS event_time,
               count(*) OVER recent AS orders_3d, sum(amount_cents) OVER recent AS spent_3d
        FROM orders
        WINDOW recent AS (
            PARTITION BY customer ORDER BY ordered_at RANGE BETWEEN INTERVAL 72 HOURS PRECEDING AND CURRENT ROW
        )
    """,
    owners=_OWNERS,
)


@feature_group(
    keys=["category"],
    event_time="event_time",
    known_at=after("event_time"),
    partitions=OPEN,
    schema=CategorySales,
    max_age=timedelta(hours=6),
    owners=_OWNERS,
)
def category_sales(product_sales: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
    """Sales of all products of a category over the last 24 hours."""
    return product_sales.join(products, on="product").group_by("category", "event_time").agg(pl.col("orders_24h").sum())


@label(
    keys=["order_id"],
    event_time="ordered_at",
    known_at=after("known_at"),
    value="returned",
    partitions=OPEN,
    lookahead=RETURNED_WITHIN,
    schema=OrderOutcome,
    owners=_OWNERS,
)
def order_returned(orders: pl.LazyFrame, returns: pl.LazyFrame) -> pl.LazyFrame:
    """Whether an order came back within two days; one that was called off is neither."""
    deadline = pl.col("ordered_at") + RETURNED_WITHIN
    in_time = pl.col("returned_at") <= deadline
    return orders.join(returns, on="order_id", how="left").select(
        "order_id",
        "ordered_at",
        known_at=pl.when(in_time).then("returned_at").otherwise(deadline),
        returned=pl.when(~pl.col("cancelled")).then(in_time.fill_null(value=False)),
    )


@feature_view(
    keys=["order_id"],
    event_time="ordered_at",
    prediction_time=after("ordered_at"),
    partitions=OPEN,
    schema=AskedOrder,
    accepts_unknown={"products": "a product does not change its category"},
    features=[
        product_sales.select(age=True),
        customer_history.select("orders_3d", "spent_3d"),
        category_sales.select(prefix="category"),
    ],
    owners=_OWNERS,
)
def orders_asked(orders: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
    """Every order the moment it is placed, with what was known then."""
    weekday = pl.col("ordered_at").dt.convert_time_zone(BERLIN).dt.weekday()
    return (
        orders.join(products, on="product", how="left").with_columns(weekday=weekday).select(AskedOrder.column_names())
    )


returns_dataset = TrainingDataset(
    name="returns_dataset",
    description="Orders whose outcome is known, with what was known when they were placed.",
    view=orders_asked,
    label=order_returned,
    split=TimeSplit(
        select_from=date(2024, 4, 1),
        report_from=date(2024, 4, 8),
        report_until=date(2024, 4, 14),
        gap=timedelta(days=2),
    ),
    owners=_OWNERS,
)

return_model = Model(
    name="return_model",
    description="Probability that an order comes back.",
    training=returns_dataset,
    learner=LightGBM(
        parameters={"num_leaves": 6, "min_data_in_leaf": 10, "learning_rate": 0.2}, rounds=25, early_stopping=10
    ),
    request=["product", "category", "amount_cents", "weekday"],
    categories=["product", "category"],
    baselines={"averages by product": ["product"]},
    interval=0.9,
    costs=Costs(false_alarm=1.0, miss=4.0, unit="euros of the shop"),
    owners=_OWNERS,
)

return_predictions = Predictions(
    name="return_predictions",
    description="The champion's probability for every order.",
    model=return_model,
    first=PREDICTED_FROM,
    reasons=2,
    reasons_from=0.5,
    owners=_OWNERS,
)

return_outcomes = Outcomes(
    name="return_outcomes",
    description="Each prediction beside what came of the order.",
    predictions=return_predictions,
    owners=_OWNERS,
)

DECLARATIONS = (
    products,
    orders,
    returns,
    product_sales,
    customer_history,
    category_sales,
    order_returned,
    orders_asked,
    returns_dataset,
    return_model,
    return_predictions,
    return_outcomes,
)
CATALOGUE = Catalogue(name="shop", declarations=DECLARATIONS)

return_promotion = Promotion(
    name="return_promotion",
    description="Which version of the model predicts, and why.",
    model=return_model,
    slices=["category", "month"],
    slice_rows=40,
    floor=0.05,
    draws=400,
    owners=_OWNERS,
)
promoted_predictions = replace(return_predictions, promotion=return_promotion)
PROMOTING = Catalogue(
    name="shop",
    declarations=[
        *DECLARATIONS[:-2],
        return_promotion,
        promoted_predictions,
        replace(return_outcomes, predictions=promoted_predictions),
    ],
)
"""The same shop, in which a promotion chooses the champion."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order as the shop's own books have it."""

    order_id: str
    customer: str
    product: str
    amount_cents: int
    cancelled: bool
    ordered_at: datetime
    returned_at: datetime | None


@lru_cache(maxsize=4)
def books(*, seed: int = 0, per_day: int = 30, chance: bool = False) -> list[Order]:
    """Everything that was ever ordered: expensive orders tend to come back, or with `chance` a coin decides."""
    found = []
    for day in SOLD:
        dice = random.Random(f"{seed} {day}")
        window = OPEN.window(Days(day, day))
        seconds = int((window.end - window.start).total_seconds())
        # The first and the last second of the local day are always among them.
        instants = [0, seconds - 1, *dice.sample(range(1, seconds - 1), per_day - 2)]
        for number, second in enumerate(sorted(instants)):
            amount = dice.randrange(500, 12_000)
            likely = 0.5 if chance else 0.9 if amount > 7_000 else 0.08
            delay = timedelta(minutes=dice.randrange(60, 60 * 47))
            ordered_at = window.start + timedelta(seconds=second)
            found.append(
                Order(
                    order_id=f"{day:%Y%m%d}-{number:03}",
                    customer=dice.choice(_CUSTOMERS),
                    product=dice.choice([*_PRODUCTS]),
                    amount_cents=amount,
                    cancelled=dice.random() < 0.05,
                    ordered_at=ordered_at,
                    returned_at=ordered_at + delay if dice.random() < likely else None,
                )
            )
    return found


def rows_to_land(
    source: str, day: date, *, seed: int = 0, per_day: int = 30, chance: bool = False
) -> list[dict[str, str]]:
    """The cells of the file that `source` delivers for `day`."""
    window = OPEN_AND_TAIL.window(Days(day, day))

    def inside(instant: datetime | None) -> bool:
        return instant is not None and window.start <= instant < window.end

    kept = books(seed=seed, per_day=per_day, chance=chance)
    if source == "orders":
        return [
            {
                "order_id": o.order_id,
                "customer": o.customer,
                "product": o.product,
                "amount_cents": str(o.amount_cents),
                "cancelled": str(o.cancelled).lower(),
                "ordered_at": f"{o.ordered_at:%Y-%m-%dT%H:%M:%SZ}",
            }
            for o in kept
            if inside(o.ordered_at)
        ]
    return [
        {"order_id": o.order_id, "returned_at": f"{o.returned_at:%Y-%m-%dT%H:%M:%SZ}"}
        for o in kept
        if inside(o.returned_at)
    ]


HEADERS: Mapping[str, tuple[str, ...]] = {
    "orders": ("order_id", "customer", "product", "amount_cents", "cancelled", "ordered_at"),
    "returns": ("order_id", "returned_at"),
    "products": ("product", "category"),
}


def land_rows(landing: Path, source: str, day: date | None, rows: Iterable[Mapping[str, str]]) -> Path:
    """Write one landed file with the count of its rows beside it; the header is that of the source."""
    path = landing / f"{source}.csv" if day is None else landing / source / f"{day}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADERS[source], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    path.with_suffix(".rows").write_text(str(len(rows)))
    return path


def land(
    landing: Path, days: Iterable[date] = DELIVERED, *, seed: int = 0, per_day: int = 30, chance: bool = False
) -> None:
    """Let the files of `days` land (orders, returns), and at first the snapshot of products, as the upstream would."""
    if not (landing / "products.csv").exists():
        land_rows(landing, "products", None, [{"product": p, "category": c} for p, c in _PRODUCTS.items()])
    for day in days:
        for name, has in (("orders", OPEN), ("returns", OPEN_AND_TAIL)):
            if has.first <= day <= (has.last or day):
                land_rows(landing, name, day, rows_to_land(name, day, seed=seed, per_day=per_day, chance=chance))


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of its own."""
    connection = duckdb.connect(":memory:")
    try:
        yield connection
    finally:
        connection.close()


def platform(root: Path) -> Platform:
    """A platform below `root`: landing/, lake/ and mlflow/."""
    return Platform(
        landing=Landing(root / "landing"), lake=Lake(root / "lake"), registry=Registry(root / "mlflow"), connect=connect
    )


_numbers = itertools.count()


def run(now: datetime = NOW, *, draws: bool = False) -> Run:
    """A new run; each counts as a second later than the one before. A training takes twice as long when it draws."""
    number = next(_numbers)
    return Run(run_id=f"run-{number}", now=now + timedelta(seconds=number), draws=draws)


def days_of(name: str, catalogue: Catalogue = CATALOGUE) -> Days | None:
    """All days of a declaration, None when it has none."""
    own = calendar(catalogue[name])
    return None if own is None else Days(own.first, own.last or own.first)


def make(
    there: Platform,
    *names: str,
    days: Days | None = None,
    catalogue: Catalogue = CATALOGUE,
    now: datetime = NOW,
    draws: bool = False,
) -> list[Materialization]:
    """Materialize declarations by direct call, in the order given: `days`, or all days of each."""
    return [
        materialize(
            there,
            catalogue,
            name,
            run(now, draws=draws),
            days=days if days is not None and days_of(name, catalogue) else days_of(name, catalogue),
        )
        for name in names
    ]


def refresh(there: Platform, *, catalogue: Catalogue = CATALOGUE, now: datetime = NOW) -> Plan:
    """Carry out what is planned, step by step, and give back the plan."""
    decided = plan(there, catalogue, now=now)
    for step in decided.steps:
        for days in step.days if step.days is not None else (None,):
            materialize(there, catalogue, step.name, run(now), days=days)
    return decided


def with_changed(name: str, *, catalogue: Catalogue = CATALOGUE, **changes: object) -> Catalogue:
    """The catalogue with one declaration altered, and everything that refers to it by value following suit."""
    renewed: dict[int, object] = {id(catalogue[name]): replace(catalogue[name], **changes)}

    def renew(value: object) -> object:
        if id(value) in renewed:
            return renewed[id(value)]
        held = {
            attribute: renew(getattr(value, attribute))
            for attribute in ("view", "label", "training", "model", "promotion", "predictions", "group")
            if attribute in getattr(value, "__dataclass_fields__", {})
        }
        if "features" in getattr(value, "__dataclass_fields__", {}) and hasattr(value, "groups"):
            held["features"] = [renew(selection) for selection in value.features]
        if any(
            held[attribute] is not getattr(value, attribute) for attribute in held if attribute != "features"
        ) or any(a is not b for a, b in zip(held.get("features", ()), getattr(value, "features", ()), strict=False)):
            renewed[id(value)] = replace(value, **held)
        else:
            renewed[id(value)] = value
        return renewed[id(value)]

    return Catalogue(name=catalogue.name, declarations=[renew(d) for d in catalogue.declarations])


TUNED = with_changed(
    "return_model",
    learner=LightGBM(
        parameters={"min_data_in_leaf": 10},
        rounds=25,
        early_stopping=10,
        tuning=Tuning(
            trials=12,
            space={
                "num_leaves": whole(3, 24, log=True, start=3),
                "learning_rate": real(0.03, 0.5, log=True, start=0.05),
                "extra_trees": choice(False, True, start=False),
            },
        ),
    ),
)
"""The same shop, whose model's settings are searched for."""
