"""A model made again: the same to the bit, and each link named that somebody broke."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from platform_assets.errors import ModelError, NotFound
from platform_assets.pipelines import environment
from platform_assets.pipelines.reproduce import Link, Reproduction, reproduce
from platform_assets.pipelines.run import Platform
from platform_assets.registry.versions import ModelName, document, find_version, read_model_name
from platform_assets_tests import shop

CHAMPION = read_model_name("models:/shop.return_model@champion")
RESULTS = ("dataset", "model", "predictions")


def reproduced(there: Platform, name: ModelName = CHAMPION, catalogue: Any = shop.CATALOGUE) -> Reproduction:
    return reproduce(there, [catalogue], name, run=shop.run())


def link(found: Reproduction, kind: str, name: str = "") -> Link:
    return next(one for one in found.links if one.kind == kind and name in one.name)


def states(found: Reproduction) -> dict[str, str]:
    return {kind: link(found, kind).state for kind in RESULTS}


def remove_files(there: Platform, table: str) -> None:
    for file in (there.lake.root / "shop" / table).rglob("*.parquet"):
        file.unlink()


@pytest.fixture
def there(finished_shop: Path) -> Platform:
    return shop.platform(finished_shop)


def test_the_champion_is_made_again_to_the_bit(there: Platform) -> None:
    found = reproduced(there)
    assert (found.model, found.aliases) == ("models:/shop.return_model/1", ("champion",))
    assert found.broken == ()
    assert found.is_reproduced
    assert {one.state for one in found.links} == {"same"}
    tables = {"orders", "returns", "products", "product_sales", "customer_history", "category_sales", "order_returned"}
    tables |= {"orders_asked", "returns_dataset"}
    assert {one.name for one in found.links if one.kind == "version"} == {f"shop/{name}" for name in tables}
    assert {one.name for one in found.links if one.kind == "code"} == {
        f"shop/{name}" for name in (*tables, "return_model")
    }
    assert {one.name for one in found.links if one.kind == "library"} == {
        "lightgbm",
        "numpy",
        "polars",
        "scikit-learn",
        "scipy",
        "python",
        "machine",
        "threads",
    }


def test_nothing_is_written(shop_copy: Platform) -> None:
    root = shop_copy.lake.root.parent
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert reproduced(shop_copy).is_reproduced
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_later_version_of_the_data_does_not_matter(shop_copy: Platform) -> None:
    """It is made from the versions that were recorded, not from what is there now."""
    day = shop.OPEN.first
    shop.land_rows(shop_copy.landing.root, "orders", day, shop.rows_to_land("orders", day)[:5])
    shop.refresh(shop_copy)
    assert shop_copy.lake.version("shop/returns_dataset") == 1
    found = reproduced(shop_copy, ModelName(catalogue="shop", model="return_model", which=1))
    assert found.broken == ()
    assert found.is_reproduced


def test_a_vacuumed_view_is_named_and_the_model_made_from_the_dataset_that_is_kept(shop_copy: Platform) -> None:
    remove_files(shop_copy, "orders_asked")
    found = reproduced(shop_copy)
    lost = link(found, "version", "shop/orders_asked")
    assert lost.state == "gone"
    assert "files of version 0 are missing, for example day=" in lost.why
    assert states(found) == {"dataset": "not made", "model": "same", "predictions": "same"}
    assert [one.kind for one in found.broken] == ["version", "dataset"]
    assert not found.is_reproduced


def test_a_source_that_is_gone_is_named_though_the_rest_is_the_same(shop_copy: Platform) -> None:
    remove_files(shop_copy, "returns")
    found = reproduced(shop_copy)
    assert [(one.kind, one.name) for one in found.broken] == [("version", "shop/returns")]
    assert found.is_reproduced


def test_without_view_and_dataset_there_is_nothing_to_fit(shop_copy: Platform) -> None:
    remove_files(shop_copy, "orders_asked")
    remove_files(shop_copy, "returns_dataset")
    found = reproduced(shop_copy)
    assert states(found) == dict.fromkeys(RESULTS, "not made")
    assert link(found, "model").why == "there are no rows to fit it on"


def test_changed_code_is_named_and_what_it_makes_is_compared(there: Platform) -> None:
    split = replace(shop.returns_dataset.split, gap=2 * shop.RETURNED_WITHIN)
    found = reproduced(there, catalogue=shop.with_changed("returns_dataset", split=split))
    assert link(found, "code", "returns_dataset").state == "differs"
    assert link(found, "dataset").state == "differs"
    assert "it holds other rows" in link(found, "dataset").why
    # The dataset that was recorded is still there, and gives the same model.
    assert link(found, "model").state == "same"


def test_other_settings_are_named_and_those_that_were_recorded_are_used(there: Platform) -> None:
    learner = replace(
        shop.return_model.learner, rounds=7, parameters={**shop.return_model.learner.parameters, "num_leaves": 4}
    )
    found = reproduced(there, catalogue=shop.with_changed("return_model", learner=learner))
    setting = link(found, "settings")
    assert (setting.state, setting.recorded, setting.found) == (
        "differs",
        "num_leaves=6, rounds=25",
        "num_leaves=4, rounds=7",
    )
    assert states(found) == dict.fromkeys(RESULTS, "same")
    assert link(found, "code", "return_model").state == "differs"


def test_settings_that_may_no_longer_be_declared_break_the_model_and_not_the_answer(
    there: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other names of a setting were taken before they were refused."""
    then = find_version(there.registry, CHAMPION)
    older = replace(then, parameters={**then.parameters, "eta": "0.1"})
    monkeypatch.setattr("platform_assets.pipelines.reproduce.find_version", lambda *_: older)
    found = reproduced(there)
    assert link(found, "settings").recorded == "eta=0.1"
    assert states(found) == {"dataset": "same", "model": "not made", "predictions": "not made"}
    assert "'eta' is no parameter that a learner may set" in link(found, "model").why


def test_another_library_is_named(there: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    now = environment.environment(shop.return_model) | {"environment.polars": "3.0", "environment.threads": "64"}
    monkeypatch.setattr("platform_assets.pipelines.reproduce.environment", lambda _: now)
    found = reproduced(there)
    assert [(one.kind, one.name, one.found) for one in found.broken] == [("library", "polars", "3.0")]


def test_a_model_from_before_libraries_were_recorded_is_not_called_broken(shop_copy: Platform) -> None:
    version = find_version(shop_copy.registry, CHAMPION)
    for tag in version.tags:
        if tag.startswith(environment.PREFIX):
            shop_copy.registry.client.delete_model_version_tag("shop.return_model", "1", tag)
    found = reproduced(shop_copy)
    assert {one.state for one in found.links if one.kind == "library"} == {"not recorded"}
    assert found.broken == ()
    assert found.is_reproduced


def test_a_manifest_with_another_hash_is_a_dataset_that_differs(
    there: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = document(there.registry, find_version(there.registry, CHAMPION).run_id, "manifest.json")
    forged = json.loads(str(text))
    forged["training_dataset"]["content_hash"] = "0" * 32
    monkeypatch.setattr("platform_assets.pipelines.reproduce.document", lambda *_: json.dumps(forged))
    found = reproduced(there)
    assert states(found) == {"dataset": "differs", "model": "same", "predictions": "same"}


def test_trees_that_come_out_otherwise_are_found(there: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from another machine."""
    module = sys.modules["platform_assets.pipelines.reproduce"]
    fit = module.fit
    monkeypatch.setattr(
        module,
        "fit",
        lambda model, rows, **more: fit(
            replace(
                model, learner=replace(model.learner, seed=1, parameters={**model.learner.parameters, "num_leaves": 3})
            ),
            rows,
            **more,
        ),
    )
    found = reproduced(there)
    assert states(found) == {"dataset": "same", "model": "differs", "predictions": "differs"}
    assert "differ, by at most" in link(found, "predictions").why


def test_a_model_whose_files_are_gone_is_said_to_be(shop_copy: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise ModelError("model shop.return_model version 1 cannot be loaded")

    monkeypatch.setattr(type(shop_copy.registry), "load", lost)
    found = reproduced(shop_copy)
    assert states(found) == {"dataset": "same", "model": "same", "predictions": "gone"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "return_model",
        "models:/return_model/1",
        "models:/shop.return_model/0",
        "models:/shop.return_model/x",
        "runs:/a.b",
    ],
)
def test_what_names_no_model_is_told_how_one_reads(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"names no model; write it as MLflow does: models:/shop\.return_model@champion"
    ):
        read_model_name(text)


@pytest.mark.parametrize(
    ("text", "which"),
    [
        ("models:/shop.return_model/3", 3),
        ("models:/shop.return_model@champion", "champion"),
        ("models:/shop.return_model", None),
    ],
)
def test_models_are_named_as_mlflow_names_them(text: str, which: int | str | None) -> None:
    found = read_model_name(text)
    assert (found.full, found.which, str(found)) == ("shop.return_model", which, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models:/shop.return_model/9", "there is no models:/shop.return_model/9; it has version 1 in "),
        ("models:/shop.return_model@rival", "there is no models:/shop.return_model@rival; it has version 1 in "),
        ("models:/shop.other/1", "models:/shop.other/1: no project declares the model shop.other, so that"),
    ],
)
def test_an_unknown_version_is_told_what_there_is(there: Platform, text: str, said: str) -> None:
    with pytest.raises(NotFound) as refused:
        reproduced(there, read_model_name(text))
    assert str(refused.value).startswith(said)
