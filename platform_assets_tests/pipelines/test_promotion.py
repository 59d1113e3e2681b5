"""Who becomes champion: a better, a worse, an equal and a leaking challenger; by hand and back again; killed and raced."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import polars as pl
import pytest
from deltalake import write_deltalake

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.names import table_folder
from platform_assets.errors import ModelError, TableMissing, WriteConflict
from platform_assets.pipelines import decisions, promotion
from platform_assets.pipelines.champions import promote_by_hand, promotion_for, reigns, roll_back
from platform_assets.pipelines.decisions import Decision, History, Reason, history
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.plan import plan
from platform_assets.pipelines.run import Materialization, Platform
from platform_assets.pipelines.training.baselines import CANDIDATES, read_candidates
from platform_assets.registry.models import Registry
from platform_assets.registry.versions import document
from platform_assets_tests import faults, shop
from platform_assets_tests.faults import Stop

NAME = "return_promotion"
LEARNER = shop.return_model.learner
WEAK = shop.with_changed(
    "return_model",
    catalogue=shop.PROMOTING,
    learner=replace(LEARNER, rounds=2, parameters={**LEARNER.parameters, "learning_rate": 0.05}),
)
NEWEST = shop.with_changed("return_predictions", catalogue=shop.PROMOTING, champion="newest")
LOGGED = """candidate,part,rows,auc,log_loss
return_model,report,5,0.9,0.1
the base rate,select,7,,0.6
the base rate,report,5,,0.5
averages by product,report,5,0.75,0.25
"""
HUMAN = shop.with_changed(NAME, catalogue=shop.PROMOTING, approval="human")


def promote(there: Platform, catalogue: Catalogue = shop.PROMOTING, *, draws: bool = False) -> Materialization:
    return shop.make(there, NAME, catalogue=catalogue, draws=draws)[0]


def promoted(there: Platform) -> Platform:
    promote(there)
    return there


def known(there: Platform) -> History:
    return history(there, shop.PROMOTING, shop.return_promotion)


def champion(there: Platform) -> int | None:
    return there.registry.champion("shop", "return_model")


def by_hand(there: Platform, version: int, reason: str = "it is ours") -> Decision:
    return promote_by_hand(there, shop.PROMOTING, shop.return_promotion, version, shop.run(), reason=reason, who="ada")


def back(there: Platform, reason: str = "too many complaints") -> Decision:
    return roll_back(there, shop.PROMOTING, shop.return_promotion, shop.run(), reason=reason, who="ada")


def verdicts(there: Platform) -> list[tuple[str, int, int | None]]:
    return [(d.verdict, d.version, d.champion) for d in known(there).decisions]


def failed(decision: Decision) -> set[str]:
    return {reason.name for reason in decision.reasons if reason.passed is False}


def require_one_truth(there: Platform) -> None:
    """The alias names whom the table says, decisions are counted without a gap, and each tells from whom it took over."""
    found = known(there)
    assert champion(there) == found.champion
    assert [d.number for d in found.decisions] == list(range(1, len(found.decisions) + 1))
    assert [d.champion_before for d in found.decisions] == [None, *(d.champion for d in found.decisions[:-1])]
    last = found.decisions[-1]
    tags = there.registry.tags("shop", "return_model", last.version)
    assert (tags["promotion"], tags["promotion.decision"]) == (last.verdict, str(last.number))


@pytest.fixture(scope="module")
def better_waiting(finished_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose champion is a weak version 2, with a better version 3 that nobody has looked at."""
    root = tmp_path_factory.mktemp("better") / "shop"
    shutil.copytree(finished_shop, root)
    there = shop.platform(root)
    shop.make(there, "return_model", catalogue=WEAK)
    there.registry.crown("shop", "return_model", 2)
    shop.make(there, "return_model", catalogue=shop.PROMOTING)
    assert champion(there) == 2, "where a promotion chooses, training moves no alias"
    return root


@pytest.fixture
def better(better_waiting: Path, tmp_path: Path) -> Platform:
    shutil.copytree(better_waiting, tmp_path / "shop")
    return shop.platform(tmp_path / "shop")


def test_a_better_challenger_becomes_champion_and_every_reason_is_kept(better: Platform) -> None:
    made = promote(better, draws=True)
    assert verdicts(better) == [("adopted", 2, 2), ("promoted", 3, 3)]
    assert (made.checks[0].name, made.checks[0].passed, made.checks[0].blocking) == ("promoted", True, False)
    reasons = {r.name: r for r in known(better).decisions[-1].reasons}
    assert {"rows", "not_too_good", "splits_apart", "up to date", "baselines", "log loss", "AUC"} < set(reasons)
    assert {"floor by category", "gap by category", "calibration error", "bytes", "microseconds a row"} < set(reasons)
    assert reasons["log loss"].measured < 0
    assert "comparison" in made.pictures
    assert {"log loss of category wear", "log loss of month 2024-04"} < set(made.preview["what"])
    tags = better.registry.client.get_model_version("shop.return_model", "3").tags
    assert tags["promotion"] == "promoted"
    assert "ok: Log loss -" in tags["promotion.reasons"]
    require_one_truth(better)


def test_decided_once_it_is_not_decided_again(better: Platform) -> None:
    first, second = promote(better), promote(better)
    assert (first.is_new, second.is_new) == (True, False)
    assert (first.version, first.digest) == (second.version, second.digest)
    assert len(known(better).decisions) == 2


def test_the_figures_are_those_of_rows_that_neither_has_learned_from(better: Platform) -> None:
    promote(better)
    rows = better.lake.scan(table_folder("shop", "returns_dataset")).filter(pl.col("split") == "report").collect()
    until = better.registry.load("shop", "return_model", 3).tags["learned_until"]
    assert str(rows["prediction_time"].min()) > until
    said = {r.name: r.said for r in known(better).decisions[-1].reasons}
    assert said["rows"] == f"{len(rows):,} rows that neither has learned from."


def test_the_baselines_are_as_good_as_training_has_logged_or_fitted_again(
    better: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def baselines(there: Platform) -> Reason:
        promote(there)
        return next(reason for reason in known(there).decisions[-1].reasons if reason.name == "baselines")

    shutil.copytree(better.lake.root.parent, tmp_path / "other")
    other = shop.platform(tmp_path / "other")
    with monkeypatch.context() as forbidden:
        forbidden.delattr(promotion, "said_by_baselines")
        read = baselines(better)
    monkeypatch.setattr(promotion, "document", lambda *_: None)
    assert baselines(other) == read


def test_what_was_logged_of_other_rows_or_baselines_is_not_taken(
    better: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_candidates(LOGGED, shop.return_model)
    assert found is not None
    assert found.rows() == [("the base rate", 5, None, 0.5), ("averages by product", 5, 0.75, 0.25)]
    assert read_candidates(LOGGED, replace(shop.return_model, baselines={})) is None
    assert read_candidates(LOGGED + LOGGED.splitlines()[-1] + "\n", shop.return_model) is None, "one of them twice"
    monkeypatch.setattr(promotion, "document", lambda *_: LOGGED)
    promote(better)
    limits = {reason.name: reason.limit for reason in known(better).decisions[-1].reasons}
    assert limits["baselines"] not in (0.25, 0.5), "it was fitted again: five rows are not those of report"


@pytest.mark.parametrize(
    "damaged",
    [b"", LOGGED[:-3].encode(), LOGGED.replace("0.25", "").encode(), LOGGED.replace("0.75", "NaN").encode(), b"\xff\n"],
    ids=["empty", "cut off", "no figure", "no number", "no text"],
)
def test_what_was_logged_and_is_damaged_is_fitted_again(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / CANDIDATES).write_bytes(damaged)
    run = SimpleNamespace(info=SimpleNamespace(artifact_uri=tmp_path.as_uri()))
    registry = SimpleNamespace(client=SimpleNamespace(get_run=lambda _: run))
    text = document(cast("Registry", registry), "run", CANDIDATES)
    assert text is None or read_candidates(text, shop.return_model) is None


def test_a_worse_challenger_leaves_the_champion(shop_copy: Platform) -> None:
    shop.make(shop_copy, "return_model", catalogue=WEAK)
    made = promote(shop_copy, WEAK)
    assert verdicts(shop_copy) == [("adopted", 1, 1), ("refused", 2, 1)]
    assert "log loss" in failed(known(shop_copy).decisions[-1])
    assert not made.checks[0].passed
    assert made.checks[0].description.startswith("Version 2: refused; version 1 stays champion. ")
    assert champion(shop_copy) == 1
    assert promote(shop_copy, WEAK).is_new is False


def test_an_equal_challenger_leaves_the_champion_and_says_so(shop_copy: Platform) -> None:
    shop.make(shop_copy, "return_model", catalogue=shop.PROMOTING)
    made = promote(shop_copy)
    assert verdicts(shop_copy) == [("adopted", 1, 1), ("equal", 2, 1)]
    assert made.checks[0].passed
    assert "the same probability as version 1" in made.checks[0].description
    assert champion(shop_copy) == 1


def test_a_leaking_challenger_is_refused_however_good_it_is(shop_copy: Platform) -> None:
    """Its dataset was tampered with: a feature holds what came of the order."""
    folder = shop_copy.lake.path(table_folder("shop", "returns_dataset"))
    rows = pl.read_delta(str(folder)).with_columns(
        product_sales__orders_24h=pl.col("returned").cast(pl.Int64) * 100 + pl.int_range(pl.len()) % 7
    )
    write_deltalake(folder, rows, mode="overwrite")
    shop.make(shop_copy, "return_model", catalogue=shop.PROMOTING)
    promote(shop_copy)
    last = known(shop_copy).decisions[-1]
    assert (last.verdict, last.version, champion(shop_copy)) == ("refused", 2, 1)
    assert "not_too_good" in failed(last)
    assert {"log loss", "baselines"}.isdisjoint(failed(last)), "it looked much better"


def test_without_a_champion_it_has_to_beat_the_baselines(shop_copy: Platform) -> None:
    shop_copy.registry.client.delete_registered_model_alias("shop.return_model", "champion")
    with pytest.raises(TableMissing, match="shop/return_predictions reads shop/return_model"):
        shop.make(shop_copy, "return_predictions", catalogue=shop.PROMOTING)
    useless = shop.with_changed(
        "return_model",
        catalogue=shop.PROMOTING,
        learner=replace(LEARNER, rounds=1, parameters={"learning_rate": 1e-6}),
    )
    shop.make(shop_copy, "return_model", catalogue=useless)
    made = promote(shop_copy, useless)
    assert (champion(shop_copy), failed(known(shop_copy).decisions[-1])) == (None, {"baselines"})
    assert "there is no champion" in made.checks[0].description
    shop.make(shop_copy, "return_model", catalogue=shop.PROMOTING)
    promote(shop_copy)
    assert verdicts(shop_copy) == [("refused", 2, None), ("promoted", 3, 3)]
    require_one_truth(shop_copy)


def test_a_stale_challenger_is_refused(better: Platform) -> None:
    promote(better, WEAK)
    last = known(better).decisions[-1]
    assert (last.verdict, failed(last)) == ("refused", {"up to date"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"floor": 0.0, "slices": ["product"], "slice_rows": 400}, "floor by product"),
        ({"largest_gap": 0.0, "slices": ["category"]}, "gap by category"),
        ({"largest_calibration_error": 0.0}, "calibration error"),
        ({"most_bytes": 10}, "bytes"),
        ({"most_microseconds": 0.0}, "microseconds a row"),
    ],
)
def test_each_declared_limit_can_refuse(better: Platform, limit: dict[str, object], reason: str) -> None:
    promote(better, shop.with_changed(NAME, catalogue=shop.PROMOTING, **limit))
    last = known(better).decisions[-1]
    assert (last.verdict, failed(last), champion(better)) == ("refused", {reason}, 2)


def test_where_somebody_has_to_approve_it_waits_for_them(better: Platform) -> None:
    made = promote(better, HUMAN)
    assert verdicts(better)[-1] == ("waits", 3, 2)
    assert "waits for somebody to promote it" in made.checks[0].description
    assert promote(better, HUMAN).is_new is False
    approved = by_hand(better, 3, "looked at the plots")
    assert (approved.verdict, approved.champion, champion(better)) == ("approved", 3, 3)
    assert approved.reasons[0].said == "ada: looked at the plots"


def test_somebody_overrides_on_record(better: Platform) -> None:
    assert by_hand(better, 1, "the audit wants it").verdict == "by hand"
    assert (champion(better), verdicts(better)) == (1, [("adopted", 2, 2), ("by hand", 1, 1)])
    with pytest.raises(ModelError, match="version 1 is champion already"):
        by_hand(better, 1)
    with pytest.raises(ModelError, match="nobody could tell later why"):
        by_hand(better, 2, "  ")
    with pytest.raises(ModelError, match="version 77 cannot be loaded"):
        by_hand(better, 77)
    require_one_truth(better)


def test_back_again_and_what_was_rolled_back_stays_away(better: Platform) -> None:
    promote(better)
    by_hand(better, 1)
    assert back(better).champion == champion(better) == 3
    assert back(better).champion == champion(better) == 2, "not to the one that was rolled back"
    with pytest.raises(ModelError, match="no version was champion before 2"):
        back(better)
    made = promote(better)
    assert (made.is_new, made.checks[0].passed, champion(better)) == (False, True, 2)
    assert better.registry.client.get_model_version("shop.return_model", "3").tags["promotion"] == "rolled back"
    require_one_truth(better)


@pytest.mark.parametrize("way_out", ["by hand", "rollback"])
def test_a_champion_that_was_deleted_is_replaced_by_hand_and_not_by_itself(better: Platform, way_out: str) -> None:
    promote(better)
    better.registry.client.delete_model_version("shop.return_model", "3")
    there = shop.platform(better.lake.root.parent)  # one that has not loaded it
    shop.make(there, "return_model", catalogue=WEAK)
    said = r"version 3, its champion, is no longer in MLflow, .* promote models:/shop.return_model/VERSION, or rollback"
    with pytest.raises(ModelError, match=said):
        promote(there)
    assert known(there).champion == 3
    decided = by_hand(there, 1) if way_out == "by hand" else back(there)
    assert champion(there) == decided.champion == (1 if way_out == "by hand" else 2)
    assert verdicts(promoted(there))[-1][1] == 4, "from then on it decides as ever"
    require_one_truth(there)


def test_who_was_champion_when(better: Platform) -> None:
    promote(better)
    by_hand(better, 1)
    found = reigns(better, shop.PROMOTING, shop.return_promotion)
    assert [reign.version for reign in found] == [2, 3, 1]
    assert [reign.until for reign in found] == [*(reign.since for reign in found[1:]), None]
    told, moment = known(better), timedelta(microseconds=1)
    assert told.champion_at(found[0].since - moment) is None
    assert found[0].since == found[1].since, "it was entered when the first decision was made"
    assert [told.champion_at(found[2].since + n * moment) for n in (-1, 0, 1)] == [3, 1, 1]


def test_a_clock_that_was_set_back_turns_no_order_round(better: Platform) -> None:
    promote(better)
    promote_by_hand(
        better,
        shop.PROMOTING,
        shop.return_promotion,
        1,
        shop.run(shop.NOW - timedelta(days=9)),
        reason="x",
        who="ada",
    )
    instants = [decision.decided_at for decision in known(better).decisions]
    assert instants == sorted(instants)


def test_an_alias_that_was_moved_elsewhere_is_moved_back(better: Platform) -> None:
    promote(better)
    better.registry.crown("shop", "return_model", 1)
    promote(better)
    assert champion(better) == 3
    require_one_truth(better)


def test_a_new_champion_and_only_that_makes_predictions_by_the_newest_stale(better: Platform) -> None:
    shop.refresh(better, catalogue=NEWEST)
    assert champion(better) == 3
    scored = better.lake.scan(table_folder("shop", "return_predictions")).collect()
    assert scored["model_version"].unique().to_list() == [3]
    assert plan(better, NEWEST, now=shop.NOW).steps == ()
    shop.make(better, "return_model", catalogue=NEWEST)
    assert {step.name for step in plan(better, NEWEST, now=shop.NOW).steps} >= {NAME}
    promote(better, NEWEST)
    assert verdicts(better)[-1] == ("equal", 4, 3)
    assert plan(better, NEWEST, now=shop.NOW).steps == ()
    by_hand(better, 1)
    stale = {step.name for step in plan(better, NEWEST, now=shop.NOW).steps}
    assert stale == {"return_predictions", "return_outcomes"}


MODULE = "platform_assets.pipelines.decisions"
STOPS = [
    Stop("before", "platform_assets.pipelines.promotion:decide"),
    Stop("before", f"{MODULE}:_write"),
    Stop("after", f"{MODULE}:_write"),
    Stop("after", f"{MODULE}:_write", 2),
    Stop("within commit of", "platform_assets.lake.history:write_deltalake", 2),
    Stop("before", f"{MODULE}:_tags"),
    Stop("before", f"{MODULE}:_tags", 3),
    Stop("before", "platform_assets.pipelines.promotion:enter"),
    Stop("after", "platform_assets.pipelines.promotion:enter"),
]
"""Around each step: the decision, the alias (between the decision and the tags), the tags, the ledger."""


@pytest.mark.slow
@pytest.mark.parametrize("stop", STOPS, ids=str)
def test_killed_at_a_step_and_run_again_there_is_one_truth(better: Platform, stop: Stop) -> None:
    faults.kill_at_stop(better, NAME, None, stop, catalogue="PROMOTING")
    assert champion(better) in (2, 3)
    assert champion(better) == 2 or known(better).champion == 3, "no alias moves before the record of it"
    materialize(better, shop.PROMOTING, NAME, faults.run(2_000))
    assert verdicts(better) == [("adopted", 2, 2), ("promoted", 3, 3)]
    assert better.registry.client.get_model_version("shop.return_model", "3").tags["promotion"] == "promoted"
    require_one_truth(better)


def test_who_decides_at_once_with_another_looks_again(better: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody promotes version 1 between the look and the write of the asset: it then compares with version 1."""
    kept, calls = decisions.add_rows, iter(range(100))

    def raced(*arguments: object, **named: object) -> int:
        if next(calls) == 1:
            by_hand(better, 1)
        return kept(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(decisions, "add_rows", raced)
    promote(better)
    assert [d.verdict for d in known(better).decisions] == ["adopted", "by hand", "equal"]
    assert champion(better) == 1, "version 3 is what version 1 is"
    require_one_truth(better)


def test_a_late_move_of_the_alias_gives_way_to_the_later_decision(
    better: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the decision for version 3 and its move of the alias, somebody decides for version 1 and moves it."""
    registry, kept = type(better.registry), type(better.registry).crown
    calls = iter(range(100))

    def late(self: object, catalogue: str, name: str, version: int) -> None:
        if next(calls) == 0:
            by_hand(better, 1)
        kept(self, catalogue, name, version)  # type: ignore[arg-type]

    monkeypatch.setattr(registry, "crown", late)
    promote(better)
    assert champion(better) == known(better).champion == 1
    require_one_truth(better)


def test_late_tags_give_way_to_the_later_decision(better: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the decision for version 3 and its tags, somebody goes back to version 2, and then decides for version 1."""
    registry, kept = type(better.registry), type(better.registry).tag
    calls = iter(range(100))

    def late(self: object, catalogue: str, name: str, version: int, tags: object) -> None:
        if next(calls) == 1:
            back(better)
            by_hand(better, 1)
        kept(self, catalogue, name, version, tags)  # type: ignore[arg-type]

    monkeypatch.setattr(registry, "tag", late)
    promote(better)
    assert verdicts(better)[-2:] == [("rolled back", 3, 2), ("by hand", 1, 1)]
    assert better.registry.tags("shop", "return_model", 3)["promotion"] == "rolled back"
    require_one_truth(better)


def test_an_alias_that_somebody_keeps_moving_is_an_error_and_the_decision_stands(
    better: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, kept = type(better.registry), type(better.registry).crown

    def moved(self: object, catalogue: str, name: str, version: int) -> None:
        kept(self, catalogue, name, version)  # type: ignore[arg-type]
        kept(self, catalogue, name, 1)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(registry, "crown", moved)
        with pytest.raises(
            WriteConflict, match=r"shop.return_model: by the last decision version 3 is champion, but somebody moved"
        ):
            promote(better)
    assert champion(better) == 1
    assert known(better).champion == 3
    promote(better)
    require_one_truth(better)


@pytest.mark.slow
def test_many_at_once_are_put_in_a_row(better: Platform) -> None:
    promote(better)
    errors: list[BaseException] = []

    def work(version: int) -> None:
        try:
            by_hand(shop.platform(better.lake.root.parent), version, f"by thread {version}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(version,)) for version in (1, 2, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("is champion already" in str(error) for error in errors)
    assert len(known(better).decisions) == 2 + 4 - len(errors)
    require_one_truth(better)


def test_a_model_without_promotion_keeps_no_record() -> None:
    with pytest.raises(ModelError, match=r"shop.return_model has no promotion"):
        promotion_for(shop.CATALOGUE, "return_model")
    with pytest.raises(ModelError, match=r"shop.other is not declared"):
        promotion_for(shop.PROMOTING, "other")
