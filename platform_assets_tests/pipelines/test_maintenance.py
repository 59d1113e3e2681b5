"""Maintenance on a whole shop: what an alias, an audit or a reader needs stays and can be rebuilt; the rest is gone."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.compute.content_hash import content_hash
from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import PROFILES, registered_model, table_folder
from platform_assets.declarations.retention import Retention
from platform_assets.declarations.times import Days
from platform_assets.errors import CatalogueError, DeclarationError, TableError
from platform_assets.lake import ledger
from platform_assets.pipelines.champions import promote_by_hand
from platform_assets.pipelines.decisions import Decision, Reason, decide
from platform_assets.pipelines.maintenance import Maintained, maintain, needed_versions, plan_maintenance
from platform_assets.pipelines.plan import plan
from platform_assets.pipelines.publish import _laid_down
from platform_assets.pipelines.run import Inputs, Platform, Run
from platform_assets.pipelines.training import dataset as making
from platform_assets.registry.models import CHAMPION
from platform_assets_tests import shop

DATASET, VIEW, LABEL = (table_folder("shop", name) for name in ("returns_dataset", "orders_asked", "order_returned"))
DAY = date(2024, 4, 2)
KEEPS_LITTLE = replace(shop.CATALOGUE, retention=Retention(audit=timedelta(0)))
"""The shop with nothing but aliases and readers to keep versions for."""


def later(**span: float) -> datetime:
    return datetime.now(UTC) + timedelta(**span)


def maintained(there: Platform, catalogue: Catalogue = KEEPS_LITTLE, *, now: datetime | None = None) -> Maintained:
    return maintain(there, catalogue, Run(run_id="run-maintenance", now=now or later(days=8)))


def rewrite_orders(there: Platform, drop: int) -> None:
    """Orders of a day are delivered anew, fewer of them, and everything follows."""
    path = shop.land_rows(there.landing.root, "orders", DAY, shop.rows_to_land("orders", DAY)[drop:])
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + drop * 1_000_000))
    shop.refresh(there)


def crown(there: Platform, version: int) -> None:
    there.registry.crown("shop", "return_model", version)


def manifest_of(there: Platform, version: int, folder: Path) -> dict[str, Any]:
    found = there.registry.client.get_model_version(registered_model("shop", "return_model"), str(version))
    return dict(
        json.loads(
            Path(there.registry.client.download_artifacts(found.run_id, "manifest.json", str(folder))).read_text()
        )
    )


def rebuilt(there: Platform, inputs: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    """The rows that the training pipeline makes of the recorded versions."""
    dataset: Any = shop.CATALOGUE["returns_dataset"]
    pinned = Inputs(platform=there, catalogue=shop.CATALOGUE, versions=inputs)
    with monkeypatch.context() as patch:
        patch.setattr(making, "Inputs", type("Pinned", (), {"pin": staticmethod(lambda *_: pinned)}))
        patch.setattr(making, "publish", lambda _p, _c, _d, rows, *_, **__: rows)
        rows: Any = making.build_training_dataset(there, shop.CATALOGUE, dataset, shop.run())
    return _laid_down(dataset, rows)


def bytes_of(there: Platform, folder: str) -> int:
    return sum(f.stat().st_size for f in there.lake.path(folder).rglob("*.parquet") if "_delta_log" not in f.parts)


@pytest.fixture(scope="module")
def rewritten_root(finished_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the shop after three deliveries of one day; the champion is the first model again."""
    root = tmp_path_factory.mktemp("rewritten") / "shop"
    shutil.copytree(finished_shop, root)
    there = shop.platform(root)
    for drop in (1, 2, 3):
        rewrite_orders(there, drop)
    assert there.registry.champion("shop", "return_model") == 4
    crown(there, 1)
    return root


@pytest.fixture
def rewritten(rewritten_root: Path, tmp_path: Path) -> Platform:
    """That shop, to be maintained."""
    shutil.copytree(rewritten_root, tmp_path / "rewritten")
    return shop.platform(tmp_path / "rewritten")


def test_the_pinned_training_dataset_can_be_rebuilt_and_the_others_are_gone(
    rewritten: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, manifest = rewritten, manifest_of(rewritten, 1, tmp_path)["training_dataset"]
    newest = {folder: there.lake.scan(folder).collect() for folder in (DATASET, VIEW, LABEL)}
    sizes = {folder: bytes_of(there, folder) for folder in newest}
    assert manifest["version"] == 0
    assert content_hash(rebuilt(there, manifest["inputs"], monkeypatch)) == manifest["content_hash"]

    done = maintained(there)

    assert done.check.passed, done.check.description
    assert done.failed == {}
    assert content_hash(rebuilt(there, manifest["inputs"], monkeypatch)) == manifest["content_hash"]
    assert content_hash(there.lake.scan(DATASET, version=0).collect()) == manifest["content_hash"]
    kept = {upkeep.table: upkeep.kept for upkeep in done.plans}
    assert kept[DATASET] == {0: ("champion of return_model",), 3: ("newest",)}
    for folder, rows in newest.items():
        assert_frame_equal(there.lake.scan(folder).collect(), rows, check_row_order=False)
        assert sizes[folder] - bytes_of(there, folder) == done.done[folder].bytes > 0
    unneeded = manifest_of(there, 2, tmp_path)["training_dataset"]
    with pytest.raises(FileNotFoundError):
        rebuilt(there, unneeded["inputs"], monkeypatch)
    assert planned_names(there) == {"return_predictions", "return_outcomes"}, "the champion moved, nothing else"


def planned_names(there: Platform) -> set[str]:
    return {step.name for step in plan(there, shop.CATALOGUE, now=shop.NOW).steps}


def test_without_its_alias_a_version_goes(rewritten: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manifest = manifest_of(rewritten, 1, tmp_path)["training_dataset"]
    maintained(rewritten)
    rewritten.registry.client.delete_registered_model_alias(registered_model("shop", "return_model"), CHAMPION)
    done = maintained(rewritten)
    assert {upkeep.table: set(upkeep.kept) for upkeep in done.plans}[DATASET] == {3}
    assert done.done[DATASET].bytes > 0
    with pytest.raises(TableError, match="version 0 was cleaned away"):
        rewritten.lake.scan(DATASET, version=0)
    with pytest.raises(TableError, match="was cleaned away"):
        rebuilt(rewritten, manifest["inputs"], monkeypatch)


def test_what_a_rollback_would_bring_back_and_what_waits_for_approval_stays(rewritten: Platform) -> None:
    promoting = replace(shop.PROMOTING, retention=KEEPS_LITTLE.retention)
    for version in (2, 4):
        promote_by_hand(rewritten, promoting, shop.return_promotion, version, shop.run(), reason="a test", who="ada")
    waits = Decision(
        verdict="waits",
        version=3,
        champion_before=4,
        champion=4,
        reasons=[Reason(name="said", passed=True, said="It passed.")],
        basis="waits",
        decided_at=shop.NOW,
        run_id="a run",
    )
    decide(rewritten, promoting, shop.return_promotion, shop.run(), lambda _: waits)
    kept = {upkeep.table: upkeep.kept for upkeep in maintained(rewritten, promoting).plans}
    assert kept[DATASET] == {
        1: ("return_model version 2 comes back by rollback",),
        2: ("return_model version 3 waits",),
        3: ("champion of return_model", "newest"),
    }
    rewritten.lake.scan(DATASET, version=1).collect()
    with pytest.raises(TableError, match="version 0 was cleaned away"):
        rewritten.lake.scan(DATASET, version=0)


def test_any_alias_keeps_what_its_model_was_made_of(rewritten: Platform) -> None:
    client, name = rewritten.registry.client, registered_model("shop", "return_model")
    client.set_registered_model_alias(name, "shadow", "2")
    client.set_registered_model_alias(name, "blue", "1")
    client.create_registered_model("shop2.return_model")
    kept = {upkeep.table: upkeep.kept for upkeep in maintained(rewritten).plans}
    assert kept[DATASET] == {
        0: ("blue and champion of return_model",),
        1: ("shadow of return_model",),
        3: ("newest",),
    }
    assert {why for reasons in kept[VIEW].values() for why in reasons} == {
        "blue and champion of return_model",
        "shadow of return_model",
        "newest",
    }


def test_a_model_that_was_registered_by_hand_keeps_nothing(rewritten: Platform) -> None:
    client, name = rewritten.registry.client, registered_model("shop", "by_hand")
    client.create_registered_model(name)
    client.create_model_version(name, source="s3://elsewhere/model", await_creation_for=None)
    client.set_registered_model_alias(name, "champion", "1")
    assert [found.name for found in rewritten.registry.aliased("shop")] == ["by_hand", "return_model"]
    assert maintained(rewritten).check.passed


def test_what_the_audit_window_names_stays(rewritten: Platform) -> None:
    entries = ledger.read(rewritten.lake)
    now = shop.NOW + timedelta(days=90)
    needed = needed_versions(rewritten, shop.CATALOGUE, entries, now=now)
    expected: dict[str, set[int]] = {}
    for declared in shop.CATALOGUE.declarations:
        for entry in entries.entries(f"shop/{declared.name}"):
            expected.setdefault(f"shop/{declared.name}", set()).add(entry.version)
            for name, version in entry.inputs.items():
                expected.setdefault(f"shop/{name}", set()).add(version)
    assert {table: set(versions) for table, versions in needed.items()} == expected
    assert {why for versions in needed.values() for reasons in versions.values() for why in reasons} == {
        "audit",
        "champion of return_model",
    }
    past = needed_versions(rewritten, shop.CATALOGUE, entries, now=now + timedelta(days=1))
    assert {table: set(versions) for table, versions in past.items()} == {DATASET: {0}, VIEW: {0}, LABEL: {0}}

    done = maintained(rewritten, replace(shop.CATALOGUE, retention=Retention(audit=timedelta(days=10_000))))
    assert done.check.passed
    # Profiles are compared as they are now; nobody asks what they were.
    assert sum(did.files for table, did in done.done.items() if not table.startswith(PROFILES)) == 0
    assert sum(did.files for table, did in done.done.items() if table.startswith(PROFILES)) > 0
    assert {upkeep.table: set(upkeep.kept) for upkeep in done.plans}[VIEW] == expected[VIEW]


def test_what_is_stale_is_the_same_after_maintenance(rewritten: Platform) -> None:
    """Also of tables that were merged, and of versions that the log no longer has."""
    crown(rewritten, 4)
    path = shop.land_rows(rewritten.landing.root, "orders", DAY, shop.rows_to_land("orders", DAY)[5:])
    os.utime(path, ns=(1, 1))
    shop.make(rewritten, "orders", days=Days(DAY, DAY))
    before = plan(rewritten, shop.CATALOGUE, now=shop.NOW)
    assert len(before.steps) == 9
    for folder in (VIEW, DATASET, table_folder("shop", "products")):
        rewritten.lake.open(folder).optimize.z_order(["product"], min_commit_interval=0)
    maintained(rewritten)
    for folder in (VIEW, LABEL):
        assert not (rewritten.lake.path(folder) / "_delta_log" / f"{0:020}.json").exists()
    assert plan(rewritten, shop.CATALOGUE, now=shop.NOW) == before
    shop.refresh(rewritten)
    assert plan(rewritten, shop.CATALOGUE, now=shop.NOW).steps == ()
    maintained(rewritten)
    assert plan(rewritten, shop.CATALOGUE, now=shop.NOW).steps == ()


def test_the_next_model_knows_what_it_was_made_of_although_the_log_begins_later(
    rewritten: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crown(rewritten, 4)
    rewritten.lake.open(DATASET).optimize.z_order(["product"], min_commit_interval=0)
    maintained(rewritten)
    maintained(rewritten)
    shop.make(rewritten, "return_model")
    manifest = manifest_of(rewritten, 5, tmp_path)["training_dataset"]
    assert manifest["version"] == rewritten.lake.version(DATASET)
    assert set(manifest["inputs"]) == {"orders_asked", "order_returned"}
    assert content_hash(rebuilt(rewritten, manifest["inputs"], monkeypatch)) == manifest["content_hash"]


def test_the_ledger_becomes_one_file_an_asset_and_says_the_same(rewritten: Platform) -> None:
    before = {d.name: ledger.entries(rewritten.lake, f"shop/{d.name}") for d in shop.CATALOGUE.declarations}
    done = maintained(rewritten).done["ledger"]
    assert done.merged > len(before)
    assert len(rewritten.lake.open("ledger").file_uris()) == len(before)
    after = {d.name: ledger.entries(rewritten.lake, f"shop/{d.name}") for d in shop.CATALOGUE.declarations}
    assert after == before
    # The small files are what readers of a moment ago read: they go when their grace is over.
    assert maintained(rewritten, now=later()).done["ledger"].files == 0
    assert maintained(rewritten).done["ledger"].files == done.merged
    assert sum(1 for _ in rewritten.lake.path("ledger").glob("asset=*/*")) == len(before)
    after = {d.name: ledger.entries(rewritten.lake, f"shop/{d.name}") for d in shop.CATALOGUE.declarations}
    assert after == before


def test_the_quarantine_is_kept_in_order_too(shop_copy: Platform) -> None:
    bad = shop.rows_to_land("orders", DAY)
    for amount in ("-1", "-2", "-3"):
        bad[0]["amount_cents"] = amount
        shop.land_rows(shop_copy.landing.root, "orders", DAY, bad)
        shop.make(shop_copy, "orders", days=Days(DAY, DAY))
    done = maintained(shop_copy)
    assert done.done["quarantine/shop/orders"].files == 2
    assert len(shop_copy.lake.scan("quarantine/shop/orders").collect()) == 1


def test_a_file_of_a_kept_version_that_is_missing_is_told(rewritten: Platform) -> None:
    listed = {Path(file) for file in rewritten.lake.open(DATASET, version=0).file_uris()}
    for file in listed:
        file.unlink()
    done = maintained(rewritten)
    assert not done.check.passed
    assert not done.check.blocking
    assert "shop/returns_dataset version 0 (champion of return_model): 1 of its 1 files are missing" in (
        done.check.description
    )
    assert done.done[VIEW].files > 0, "the other tables are kept in order all the same"


def test_a_table_that_cannot_be_read_does_not_keep_the_others(rewritten: Platform) -> None:
    log = rewritten.lake.path(VIEW) / "_delta_log"
    (log / f"{rewritten.lake.version(VIEW):020}.json").write_text("{")
    done = maintained(rewritten)
    assert set(done.failed) == {VIEW}
    assert f"cannot read the table at {rewritten.lake.path(VIEW)}" in done.check.description
    assert done.done[DATASET].files > 0


def test_what_is_planned_is_what_is_done(rewritten: Platform) -> None:
    now = later(days=8)
    plans, failed = plan_maintenance(rewritten, KEEPS_LITTLE, now=now)
    assert failed == {}
    assert any(upkeep.removes for upkeep in plans)
    again, _ = plan_maintenance(rewritten, KEEPS_LITTLE, now=now)
    assert again == plans, "planning changes nothing"
    done = maintained(rewritten, now=now)
    assert done.plans == plans
    assert {name: (did.files, did.bytes, did.log) for name, did in done.done.items()} == {
        upkeep.table: (len(upkeep.removes), upkeep.bytes, len(upkeep.log)) for upkeep in plans
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"readers": timedelta(minutes=5)},
            r"retention: readers is 0:05:00, too short; use timedelta\(hours=2\) or more",
        ),
        ({"audit": timedelta(days=-1)}, r"retention: audit is -1 day, 0:00:00, too short; use timedelta\(hours=0\)"),
        ({"audit": 90}, r"retention: audit is 90, not a length of time; write timedelta\(days=...\)"),
    ],
)
def test_a_wrong_retention_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        Retention(**wrong)


def test_a_catalogue_that_is_told_something_else_says_what_to_write() -> None:
    wrong: Any = timedelta(days=90)
    with pytest.raises(CatalogueError, match=r"its retention is .*; write Retention\(audit=timedelta\(days=90\)\)"):
        replace(shop.CATALOGUE, retention=wrong)


def test_the_name_of_the_platforms_own_asset_is_taken() -> None:
    taken = replace(shop.CATALOGUE["products"], name="maintenance")
    with pytest.raises(
        CatalogueError, match="the name 'maintenance' is that of the platform's own asset; choose another"
    ):
        Catalogue(name="shop", declarations=[taken])
