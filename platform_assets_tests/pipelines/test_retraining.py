"""What asks for a retraining: the policy against a naive twin, and the table day by day whatever order it is made in."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.declarations.catalogue import Catalogue
from platform_assets.declarations.retraining import MONTHLY, NEVER, RetrainingPolicy
from platform_assets.declarations.times import ONE_DAY, Days
from platform_assets.errors import TableMissing
from platform_assets.lake import ledger
from platform_assets.pipelines.materialize import materialize
from platform_assets.pipelines.plan import plan
from platform_assets.pipelines.reproduce import reproduce
from platform_assets.pipelines.retraining import RetrainingFacts, decide_retraining, standing_request
from platform_assets.pipelines.run import Platform
from platform_assets.pipelines.staleness import staleness
from platform_assets.registry.versions import ModelName
from platform_assets_tests import ferry, looping, shop

NOW = datetime(2023, 7, 1, tzinfo=UTC)
LAST = date(2023, 4, 14)
DRIFT = RetrainingPolicy(alarms=3, fresh_rows=100, cool_down=timedelta(days=10))
ROW = "ferry/late_retraining"


class TestDecide:
    def facts(self, **told: Any) -> RetrainingFacts:
        known = {"day": date(2023, 5, 20), "last_trained": date(2023, 5, 1), "fresh_rows": 500, "alarmed": {"drift": 3}}
        return RetrainingFacts(**known | told)

    def test_alarms_ask_once_there_are_enough_in_a_row(self) -> None:
        assert decide_retraining(DRIFT, self.facts()).why == "drift alarmed on 3 days in a row"
        assert decide_retraining(DRIFT, self.facts()).asked
        quiet = decide_retraining(DRIFT, self.facts(alarmed={"drift": 2, "other": 1}))
        assert (quiet.asked, quiet.why) == (False, "nothing asks for one")

    def test_what_holds_it_back_is_said_beside_what_asks(self) -> None:
        few = decide_retraining(DRIFT, self.facts(fresh_rows=99))
        assert few.why == "drift alarmed on 3 days in a row; but 99 rows are fresh, and 100 are wanted"
        cooling = decide_retraining(DRIFT, self.facts(last_trained=date(2023, 5, 11)))
        assert not few.asked
        assert not cooling.asked
        assert "trained with 2023-05-11, and is left alone until 2023-05-20" in cooling.why
        assert decide_retraining(DRIFT, self.facts(last_trained=date(2023, 5, 10))).asked

    def test_alarms_on_days_that_the_training_knew_are_answered(self) -> None:
        policy = replace(DRIFT, cool_down=timedelta(0))
        asked = {
            n: decide_retraining(policy, self.facts(last_trained=date(2023, 5, 20) - n * ONE_DAY)).asked
            for n in (1, 2, 3)
        }
        assert asked == {1: False, 2: False, 3: True}

    def test_a_month_begins_on_its_first_morning(self) -> None:
        last = date(2023, 4, 30)  # trained on the morning of the first of May
        asked = [
            decide_retraining(MONTHLY, self.facts(day=last + n * ONE_DAY, last_trained=last)).asked
            for n in range(1, 32)
        ]
        assert [n for n, found in enumerate(asked, start=1) if found] == [31], "with the last day of May, on 1 June"
        assert decide_retraining(MONTHLY, self.facts(day=date(2023, 12, 31), last_trained=date(2023, 12, 30))).why == (
            "2024-01 has begun"
        )

    def test_never_asks_never_and_a_first_training_is_not_asked_for(self) -> None:
        assert not decide_retraining(NEVER, self.facts(alarmed={"drift": 99})).asked
        for unknown in (None, date(2023, 5, 20), date(2023, 6, 1)):
            assert "no training came before" in decide_retraining(DRIFT, self.facts(last_trained=unknown)).why

    def test_over_any_history_it_asks_as_a_walk_through_the_days_does(self) -> None:
        dice = random.Random(1)
        for _ in range(200):
            policy = RetrainingPolicy(
                every=dice.choice([None, "month"]),  # type: ignore[arg-type]
                alarms=dice.choice([1, 2, 4]),
                fresh_rows=dice.choice([1, 30, 120]),
                cool_down=timedelta(days=dice.choice([0, 5, 20])),
            )
            alarmed = [dice.random() < 0.6 for _ in range(90)]
            ours, theirs = _live(policy, alarmed, decide_retraining), _live(policy, alarmed, _naive)
            assert ours == theirs


def _live(policy: RetrainingPolicy, alarmed: list[bool], decide: Any) -> list[int]:
    """The days on which a policy trains over 90 days of ten rows each, trained first with the first day."""
    start, trained = date(2023, 1, 20), [0]
    for day in range(1, len(alarmed)):
        streak = 0
        while streak <= day and alarmed[day - streak]:
            streak += 1
        facts = RetrainingFacts(
            day=start + day * ONE_DAY,
            last_trained=start + trained[-1] * ONE_DAY,
            fresh_rows=10 * (day - trained[-1]),
            alarmed={"drift": streak},
        )
        if decide(policy, facts).asked:
            trained.append(day)
    return trained


def _naive(policy: RetrainingPolicy, facts: RetrainingFacts) -> Any:
    """The policy in plain words: look at each day since the training, one after the other."""
    last = facts.last_trained
    assert last is not None
    mornings = [last + n * ONE_DAY for n in range(2, (facts.day - last).days + 2)]  # after the one it was trained on
    new_month = policy.every == "month" and any(m.day == 1 for m in mornings)
    since = [facts.day - n * ONE_DAY for n in range(facts.alarmed["drift"]) if facts.day - n * ONE_DAY > last]
    long = policy.alarms is not None and len(since) >= policy.alarms
    rested = len(mornings) >= policy.cool_down.days
    asked = (new_month or long) and facts.fresh_rows >= policy.fresh_rows and rested
    return type("Answer", (), {"asked": asked})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> Path:
    """The ferry, trained before the drift, with days up to some after the first that asks; by direct calls."""
    root = tmp_path_factory.mktemp("retraining")
    shutil.copytree(empty_registry, root / "mlflow", dirs_exist_ok=True)
    there = shop.platform(root)
    for days in (Days(ferry.SAILING.first, looping.TRAINED), Days(looping.TRAINED + ONE_DAY, LAST)):
        looping.land(root / "landing", days)
        shop.refresh(there, catalogue=looping.CATALOGUE, now=NOW)
    return root


@pytest.fixture
def there(made: Path, tmp_path: Path) -> Platform:
    shutil.copytree(made, tmp_path / "there")
    return shop.platform(tmp_path / "there")


def decisions(there: Platform) -> pl.DataFrame:
    return there.lake.scan(ROW).collect().sort("day")


def make(there: Platform, name: str, days: Days | None = None, catalogue: Catalogue = looping.CATALOGUE) -> Any:
    return materialize(there, catalogue, name, shop.run(NOW), days=days)


def retrain(there: Platform) -> None:
    for name in ("crossings_dataset", "late_model", "late_promotion"):
        make(there, name)


def test_a_row_tells_what_moved_and_what_is_fresh(there: Platform) -> None:
    rows = decisions(there)
    assert rows.filter("asked")["day"].to_list() == list(Days(looping.ASKED, LAST))
    row = rows.row(by_predicate=pl.col("day") == looping.ASKED, named=True)
    label = there.lake.scan("ferry/crossing_late").collect()
    close = ferry.SAILING.start_of(looping.ASKED + ONE_DAY)
    fresh = label.filter(pl.col("day") > looping.TRAINED, pl.col("known_at") < close)
    assert row["fresh_rows"] == len(fresh) == 240
    assert row["alarmed"] == "crossings_drift"
    assert row["moved"].startswith("wind (")
    assert (row["last_trained"], row["cool_down_until"]) == (looping.TRAINED, date(2023, 4, 8))
    drift = there.lake.scan("ferry/crossings_drift").filter("alarmed").select("day").unique().collect()
    assert set(rows.drop_nulls("alarmed")["day"]) == set(drift["day"]) & set(rows["day"])


def test_days_are_the_same_all_at_once_one_by_one_backwards_and_after_the_training(there: Platform) -> None:
    before = decisions(there)
    make(there, "late_retraining", Days(before["day"].min(), LAST))  # type: ignore[arg-type]
    assert_frame_equal(decisions(there), before)
    retrain(there)
    for day in (LAST, looping.ASKED, looping.TRAINED, looping.ASKED):
        made = make(there, "late_retraining", Days(day, day))
        assert not made.is_new, f"{day} knows nothing of what it led to"
    assert_frame_equal(decisions(there), before)


def test_what_was_asked_for_is_done_by_a_training_with_that_day(there: Platform) -> None:
    retraining = looping.late_retraining
    request = standing_request(there, looping.CATALOGUE, retraining)
    assert not isinstance(request, str)
    assert request.day == LAST
    last = Days(LAST, LAST)
    (check, *_) = make(there, "late_retraining", last).checks
    assert not check.passed
    assert "asked for a training of late_model, which was not trained since" in check.description
    retrain(there)
    done = standing_request(there, looping.CATALOGUE, retraining)
    assert done == f"{LAST} asked for one, and it was trained with that day already"
    assert make(there, "late_retraining", last).checks[0].passed


def test_new_labels_leave_a_rolling_dataset_as_it_is_and_a_rewritten_day_does_not(there: Platform) -> None:
    def stale() -> Any:
        return staleness(there, looping.CATALOGUE, now=NOW)["crossings_dataset"]

    assert not plan(there, looping.CATALOGUE, now=NOW).steps
    assert not stale().reasons
    inside, outside = looping.TRAINED - ONE_DAY, LAST
    for day in (outside, inside):
        rows = looping.rows_of(day)[1:]
        path = there.landing.root / "crossings" / f"{day}.csv"
        text = path.read_text().splitlines()
        path.write_text("\n".join([text[0], *text[2:]]) + "\n")
        path.with_suffix(".rows").write_text(str(len(rows)))
        steps = {step.name for step in plan(there, looping.CATALOGUE, now=NOW).steps}
        assert ("crossings_dataset" in steps) == (day == inside)
        assert (inside in {d for days in stale().days for d in days}) == (day == inside)
    shop.refresh(there, catalogue=looping.CATALOGUE, now=NOW)
    kept = ledger.entries(there.lake, "ferry/crossings_dataset")
    assert [entry.stamps["report_until"] for entry in kept] == [str(LAST), str(looping.TRAINED)], (
        "resolved at each build"
    )


def test_a_model_of_a_rolling_dataset_is_made_again_as_it_was_divided(there: Platform) -> None:
    retrain(there)
    for version in (1, 2):
        name = ModelName(catalogue="ferry", model="late_model", which=version)
        links = reproduce(there, [looping.CATALOGUE], name, run=shop.run(NOW)).links
        assert {link.state for link in links if link.kind in ("dataset", "model", "predictions")} == {"same"}


def test_the_split_ends_with_the_last_day_of_which_a_label_is_known(there: Platform) -> None:
    evening = ferry.SAILING.start_of(LAST) + timedelta(hours=12)  # of LAST no label is known, of the day before half
    version = materialize(there, looping.CATALOGUE, "crossings_dataset", shop.run(evening)).version
    entry = next(e for e in ledger.entries(there.lake, "ferry/crossings_dataset") if e.version == version)
    assert (entry.stamps["report_until"], entry.stamps["newest"]) == (str(LAST - ONE_DAY), str(LAST))


def test_too_few_labelled_days_are_refused_by_name(tmp_path: Path, empty_registry: Path) -> None:
    shutil.copytree(empty_registry, tmp_path / "mlflow", dirs_exist_ok=True)
    there = shop.platform(tmp_path)
    two = Days(ferry.SAILING.first, ferry.SAILING.first + ONE_DAY)
    looping.land(tmp_path / "landing", two)
    for name in ferry.TO_VIEW:
        make(there, name, two)
    assert "crossings_dataset" not in {s.name for s in plan(there, looping.CATALOGUE, now=NOW).steps}
    with pytest.raises(TableMissing, match="into three parts, and there are fewer than 3"):
        make(there, "crossings_dataset")


def test_of_a_split_that_is_fixed_no_row_is_ever_fresh(there: Platform) -> None:
    fixed = shop.with_changed(
        "crossings_dataset",
        catalogue=looping.CATALOGUE,
        split=replace(
            ferry.crossings_dataset.split,
            select_from=date(2023, 3, 1),
            report_from=date(2023, 3, 10),
            report_until=date(2023, 3, 20),  # type: ignore[type-var]
        ),
    )
    for name in ("crossings_dataset", "late_model"):
        make(there, name, catalogue=fixed)
    make(there, "late_retraining", Days(looping.ASKED, LAST), catalogue=fixed)
    rows = decisions(there).filter(pl.col("day") >= looping.ASKED)
    assert rows["fresh_rows"].to_list() == [0] * len(rows)
    assert not rows["asked"].any()
