"""Who uses a feature: by declaration, and by what the aliased models were fitted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.errors import NotFound
from platform_assets.pipelines.run import Platform
from platform_assets.pipelines.usage import ModelUsing, ViewColumn, usage
from platform_assets_tests import shop


@pytest.fixture
def there(finished_shop: Path) -> Platform:
    return shop.platform(finished_shop)


def without(*features: str) -> Catalogue:
    """The shop, whose view takes only these features of the customers' history."""
    view = shop.orders_asked
    kept = [shop.customer_history.select(*features) if s.group is shop.customer_history else s for s in view.features]
    return shop.with_changed("orders_asked", features=kept)


def test_a_feature_in_use_is_followed_to_its_predictions(there: Platform) -> None:
    found = usage(there, [shop.CATALOGUE], "customer_history.spent_3d")
    column = "customer_history__spent_3d"
    assert found.views == (ViewColumn(view="shop/orders_asked", column=column),)
    assert found.training_datasets == ("shop/returns_dataset",)
    assert found.models == (
        ModelUsing(model="shop.return_model", version=None, aliases=(), columns=(column,)),
        ModelUsing(model="shop.return_model", version=1, aliases=("champion",), columns=(column,)),
    )
    assert found.predictions == ("shop/return_predictions", "shop/return_outcomes")
    assert found.read_by == ()
    assert not found.is_safe_to_drop
    assert found.keeps == (
        f"shop/orders_asked has it as {column}",
        f"shop.return_model is declared with {column}",
        f"shop.return_model version 1 (champion) was fitted on {column}",
    )


def test_a_feature_whose_declaration_is_gone_is_still_used_by_the_champion(there: Platform) -> None:
    found = usage(there, [without("orders_3d")], "customer_history.spent_3d")
    assert found.views == ()
    assert found.keeps == ("shop.return_model version 1 (champion) was fitted on customer_history__spent_3d",)


def test_a_feature_that_nobody_uses_is_safe_to_drop(shop_copy: Platform) -> None:
    dropped = without("orders_3d")
    shop.refresh(shop_copy, catalogue=dropped)
    shop_copy.registry.crown("shop", "return_model", 2)
    found = usage(shop_copy, [dropped], "customer_history.spent_3d")
    assert found.is_safe_to_drop
    assert (found.views, found.models, found.predictions) == ((), (), ())
    # Until an alias names the old version again.
    shop_copy.registry.client.set_registered_model_alias("shop.return_model", "audit", "1")
    assert usage(shop_copy, [dropped], "customer_history.spent_3d").keeps == (
        "shop.return_model version 1 (audit) was fitted on customer_history__spent_3d",
    )


def test_a_feature_group_that_another_reads_may_be_used_by_it(there: Platform) -> None:
    found = usage(there, [shop.CATALOGUE], "product_sales.amount_mean_24h")
    assert found.read_by == ("shop/category_sales",)
    assert "shop/category_sales reads all of product_sales, and may use it" in found.keeps


def test_a_column_of_the_spine_counts_where_the_model_or_a_baseline_takes_it(there: Platform) -> None:
    asked = usage(there, [shop.CATALOGUE], "weekday")
    assert [model.columns for model in asked.models] == [("weekday",), ("weekday",)]
    customer = usage(there, [shop.CATALOGUE], "customer")
    assert customer.models == ()
    assert "orders_asked.customer is what features are joined on" in customer.keeps
    model = replace(shop.return_model, request=["amount_cents", "weekday"], categories=[])
    only_baseline = shop.with_changed("return_model", request=model.request, categories=[])
    assert usage(there, [only_baseline], "product").models[0].version is None


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (
            "customer_history.spent",
            "there is no feature 'customer_history.spent'; customer_history has orders_3d, spent_3d",
        ),
        ("spent_3d", "there is no feature 'spent_3d'; write GROUP.FEATURE with one of the groups "),
        (
            "orders.amount_cents",
            "there is no feature 'orders.amount_cents'; write GROUP.FEATURE with one of the groups ",
        ),
    ],
)
def test_an_unknown_feature_is_told_what_there_is(there: Platform, feature: str, said: str) -> None:
    with pytest.raises(NotFound) as refused:
        usage(there, [shop.CATALOGUE], feature)
    assert str(refused.value).startswith(said)
