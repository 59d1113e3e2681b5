"""What the code relies on in libraries that do not promise it: a failure here explains failures elsewhere."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import unquote

import dataframely as dy
import lightgbm
import numpy as np
import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError


def test_polars_joins_as_of_the_last_of_equal_rows() -> None:
    left = pl.DataFrame({"k": ["a", "b"], "t": [5, 5]})
    right = pl.DataFrame({"k": ["a", "b", "a", "b", "a"], "t": [5, 5, 5, 5, 5], "n": [1, 2, 3, 4, 5]})
    joined = left.join_asof(right, on="t", by=["k"], strategy="backward", check_sortedness=False)
    assert joined["n"].to_list() == [5, 4]


def test_polars_joins_as_of_without_equal_times_on_request() -> None:
    left, right = pl.DataFrame({"k": ["a"], "t": [5]}), pl.DataFrame({"k": ["a", "a"], "t": [4, 5], "n": [1, 2]})
    joined = left.join_asof(right, on="t", by=["k"], allow_exact_matches=False, check_sortedness=False)
    assert joined["n"].to_list() == [1]


def test_polars_matches_no_null_key_as_of() -> None:
    frame = pl.DataFrame({"k": [None], "t": [5]}, schema={"k": pl.String, "t": pl.Int64})
    joined = frame.join_asof(frame.with_columns(n=1), on="t", by=["k"], check_sortedness=False)
    assert joined["n"].to_list() == [None]


def test_polars_gathers_null_for_a_null_index() -> None:
    assert pl.Series([7, 8]).gather(pl.Series([1, None, 0], dtype=pl.UInt32)).to_list() == [8, None, 7]
    assert pl.Series([], dtype=pl.Int64).gather(pl.Series([None], dtype=pl.UInt32)).to_list() == [None]


def test_polars_sorts_nulls_lowest_and_nan_highest() -> None:
    assert pl.Series([float("nan"), None, 1.0]).sort().to_list()[:2] == [None, 1.0]


def test_polars_divides_by_a_constant_column_one_bit_off() -> None:
    """The reason why `ratio` adds nothing to its count, and why ages are multiplied: it takes the reciprocal."""
    totals = pl.DataFrame({"total": [20.0, 20.0]})
    assert (
        totals.with_columns(count=pl.lit(3.0)).select(pl.col("total") / pl.col("count")).to_series().to_list()
        != [20 / 3] * 2
    )
    assert totals.select(pl.col("total") / 3).to_series().to_list() != [20 / 3] * 2
    assert totals.head(1).select(pl.col("total") / 3).item() == 20 / 3
    assert (
        pl.DataFrame({"total": [20.0, 20.0], "count": [3.0, 3.0]})
        .select(pl.col("total") / pl.col("count"))
        .to_series()
        .to_list()
        == [20 / 3] * 2
    )


def test_polars_fills_short_lines_of_a_csv_with_nulls(tmp_path: Path) -> None:
    """The reason why the landing counts fields itself."""
    (tmp_path / "short.csv").write_text("a,b\n1\n2,3\n")
    assert pl.read_csv(tmp_path / "short.csv")["b"].to_list() == [None, 3]


def test_polars_refuses_long_lines_of_a_csv(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text("a,b\n1,2,3\n")
    with pytest.raises(pl.exceptions.ComputeError, match="found more fields than defined"):
        pl.scan_csv(tmp_path / "long.csv", infer_schema=False).collect()


@pytest.mark.parametrize("dtype", [pl.Boolean, pl.Date, pl.Datetime("us")])
def test_polars_casts_no_text_to_these(dtype: pl.DataType) -> None:
    """The reason why the landing reads booleans and dates itself, and refuses instants."""
    with pytest.raises(pl.exceptions.InvalidOperationError):
        pl.DataFrame({"x": ["true"]}).select(pl.col("x").cast(dtype, strict=False))


def day_table(folder: Path) -> None:
    write_deltalake(folder, pl.DataFrame({"day": ["1", "1", "2"], "v": [1, 2, 3]}), partition_by=["day"])


def test_delta_refuses_rows_outside_the_predicate(tmp_path: Path) -> None:
    day_table(tmp_path)
    with pytest.raises(Exception, match=r"(?i)invalid data|does not match|constraint|predicate"):
        write_deltalake(tmp_path, pl.DataFrame({"day": ["2"], "v": [9]}), mode="overwrite", predicate="day = '1'")
    assert sorted(pl.read_delta(str(tmp_path))["v"]) == [1, 2, 3]


def test_delta_deletes_what_the_predicate_names_if_nothing_is_written(tmp_path: Path) -> None:
    day_table(tmp_path)
    empty = pl.DataFrame(schema={"day": pl.String, "v": pl.Int64})
    write_deltalake(tmp_path, empty, mode="overwrite", predicate="day = '1'")
    assert pl.read_delta(str(tmp_path))["v"].to_list() == [3]


def test_delta_lists_the_newest_commits_under_wrong_numbers_when_asked_at_an_older_version(tmp_path: Path) -> None:
    """The reason why commits are read from the log itself: a writer may commit between opening and asking."""
    write_deltalake(tmp_path, pl.DataFrame({"v": [1]}))
    opened = DeltaTable(tmp_path)
    write_deltalake(tmp_path, pl.DataFrame({"v": [1]}), mode="append", commit_properties=CommitProperties({"by": "b"}))
    assert [(commit["version"], commit.get("by")) for commit in DeltaTable(tmp_path).history()] == [(1, "b"), (0, None)]
    newest = opened.history()[0]
    assert (newest["version"], newest.get("by")) == (0, "b")


def test_delta_reads_what_a_checkpoint_at_an_older_version_leaves_of_the_log(tmp_path: Path) -> None:
    """The reason why the log may begin at any version that is kept, and why the newest checkpoint is made last."""
    for value in range(6):
        write_deltalake(tmp_path, pl.DataFrame({"v": [value]}), mode="overwrite")
    log, pointer = tmp_path / "_delta_log", tmp_path / "_delta_log" / "_last_checkpoint"
    DeltaTable(tmp_path, version=3).create_checkpoint()
    assert json.loads(pointer.read_text())["version"] == 3
    for version in range(3):
        (log / f"{version:020}.json").unlink()
    DeltaTable(tmp_path).create_checkpoint()
    assert json.loads(pointer.read_text())["version"] == 5
    assert [pl.read_delta(str(tmp_path), version=version)["v"].item() for version in (3, 4, 5)] == [3, 4, 5]
    assert [commit["version"] for commit in DeltaTable(tmp_path).history()] == [5, 4, 3]
    with pytest.raises(TableNotFoundError):
        DeltaTable(tmp_path, version=2)
    write_deltalake(tmp_path, pl.DataFrame({"v": [6]}), mode="overwrite")
    assert DeltaTable(tmp_path).version() == 6


def test_delta_takes_no_notice_of_a_log_of_which_only_the_oldest_entries_are_gone(tmp_path: Path) -> None:
    """The reason why a clean-up that is killed half-way leaves a log that works."""
    for value in range(6):
        write_deltalake(tmp_path, pl.DataFrame({"v": [value]}), mode="overwrite")
    DeltaTable(tmp_path, version=4).create_checkpoint()
    for version in range(4):
        (tmp_path / "_delta_log" / f"{version:020}.json").unlink()
        assert [pl.read_delta(str(tmp_path), version=kept)["v"].item() for kept in (4, 5)] == [4, 5]
        assert pl.read_delta(str(tmp_path))["v"].item() == 5


def test_delta_vacuum_leaves_what_a_killed_writer_staged_and_makes_versions(tmp_path: Path) -> None:
    """The reasons why files are removed by name, from the plan, and not by Delta's own vacuum."""
    write_deltalake(tmp_path, pl.DataFrame({"v": [1]}))
    write_deltalake(tmp_path, pl.DataFrame({"v": [2]}), mode="overwrite")
    for name in ("part-dead.parquet", "part-staged.parquet#1"):
        (tmp_path / name).write_bytes(b"half a file")
        os.utime(tmp_path / name, (0, 0))
    table = DeltaTable(tmp_path)
    lite = table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=True)
    assert len(lite) == 1
    assert not any("part-dead" in name for name in lite)
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert not (tmp_path / "part-dead.parquet").exists()
    assert (tmp_path / "part-staged.parquet#1").exists()
    assert DeltaTable(tmp_path).version() == 3


def test_delta_names_files_as_they_lie_on_the_disk(tmp_path: Path) -> None:
    """The reason why a file on the disk can be told from one that no version lists; `file_uris()` cannot be used."""
    folder, cells = tmp_path / "a lake ü", ["shop/orders", "50 % ü", "a=b"]
    write_deltalake(folder, pl.DataFrame({"asset": cells, "v": [1, 2, 3]}), partition_by=["asset"])
    listed = pl.DataFrame(DeltaTable(folder).get_add_actions(flatten=True))["path"]
    assert {folder / unquote(path) for path in listed} == set(folder.glob("asset=*/*"))
    assert not any(Path(file).exists() for file in DeltaTable(folder).file_uris())


def test_delta_compaction_changes_no_row_and_is_refused_when_another_day_is_rewritten(tmp_path: Path) -> None:
    """The reason why merging is tried a few times and then left to the next run."""
    day_table(tmp_path)
    write_deltalake(tmp_path, pl.DataFrame({"day": ["1", "1", "2"], "v": [4, 5, 6]}), mode="append")
    opened = DeltaTable(tmp_path)
    write_deltalake(tmp_path, pl.DataFrame({"day": ["2"], "v": [9]}), mode="overwrite", predicate="day = '2'")
    with pytest.raises(CommitFailedError):
        opened.optimize.compact(partition_filters=[("day", "in", ["1"])])
    assert DeltaTable(tmp_path).optimize.compact(partition_filters=[("day", "in", ["1"])])["numFilesRemoved"] == 2
    assert DeltaTable(tmp_path).history(1)[0]["operation"] == "OPTIMIZE"
    assert sorted(pl.read_delta(str(tmp_path))["v"]) == [1, 2, 4, 5, 9]


def test_delta_adds_columns_to_a_table_that_lacks_them_only_when_it_does(tmp_path: Path) -> None:
    """The reason why every entry of the ledger may be written with a schema to merge."""
    write_deltalake(tmp_path, pl.DataFrame({"v": [1]}))
    for _ in range(2):
        write_deltalake(tmp_path, pl.DataFrame({"v": [2], "w": ["x"]}), mode="append", schema_mode="merge")
    alters = ["metaData" in path.read_text() for path in sorted((tmp_path / "_delta_log").glob("*.json"))]
    assert alters == [True, True, False]
    assert pl.read_delta(str(tmp_path))["w"].null_count() == 1


def test_delta_takes_an_empty_log_entry_for_a_version(tmp_path: Path) -> None:
    """The reason why the newest entry is looked at whenever a table is opened."""
    for _ in range(2):
        write_deltalake(tmp_path, pl.DataFrame({"v": [1]}), mode="append")
    (tmp_path / "_delta_log" / f"{1:020}.json").write_bytes(b"")
    assert DeltaTable(tmp_path).version() == 1
    assert pl.read_delta(str(tmp_path))["v"].to_list() == [1]


@pytest.mark.parametrize(("retries", "left"), [(None, [1, 2]), (0, None)])
def test_delta_sees_no_conflict_of_an_overwrite_with_added_files_unless_it_may_not_retry(
    tmp_path: Path, retries: int | None, left: list[int] | None
) -> None:
    """The reason why a write of a whole table has to make the very next version."""
    write_deltalake(tmp_path, pl.DataFrame({"v": []}, schema={"v": pl.Int64}))
    planned = DeltaTable(tmp_path)
    write_deltalake(tmp_path, pl.DataFrame({"v": [1]}), mode="append")
    commit = CommitProperties() if retries is None else CommitProperties(max_commit_retries=retries)
    with pytest.raises(CommitFailedError) if left is None else nullcontext():
        write_deltalake(planned, pl.DataFrame({"v": [2]}), mode="overwrite", commit_properties=commit)
    assert sorted(pl.read_delta(str(tmp_path))["v"]) == (left or [1])


def test_delta_replaces_a_day_without_reading_it(tmp_path: Path) -> None:
    """The reason why materializing a day again mends its damaged files."""
    day_table(tmp_path)
    for file in (tmp_path / "day=1").iterdir():
        file.unlink()
    write_deltalake(tmp_path, pl.DataFrame({"day": ["1"], "v": [9]}), mode="overwrite", predicate="day = '1'")
    assert sorted(pl.read_delta(str(tmp_path))["v"]) == [3, 9]


def test_polars_panics_at_a_delta_file_that_is_cut_off(tmp_path: Path) -> None:
    """A panic is no Exception: the reason why it is named wherever tables are read."""
    write_deltalake(tmp_path, pl.DataFrame({"v": [1]}))
    file = next(tmp_path.glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:100])
    assert not issubclass(pl.exceptions.PanicException, Exception)
    with pytest.raises(pl.exceptions.PanicException):
        pl.read_delta(str(tmp_path))


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64])
def test_delta_gives_unsigned_numbers_back_as_signed_ones(tmp_path: Path, dtype: pl.DataType) -> None:
    """The reason why a schema with such a column is refused."""
    write_deltalake(tmp_path, pl.DataFrame({"v": [1]}, schema={"v": dtype}))
    assert pl.read_delta(str(tmp_path)).schema["v"].is_signed_integer()


class Ranged(dy.Schema):
    key = dy.String(primary_key=True)
    size = dy.Int64(min=0, max=5)


def test_dataframely_names_its_rules_by_column_and_kind() -> None:
    rows = pl.DataFrame({"key": ["a", "a", None, "d", "e"], "size": [1, 2, 3, 9, None]})
    good, failure = Ranged.filter(rows)
    assert failure.counts() == {"primary_key": 2, "key|nullability": 1, "size|max": 1, "size|nullability": 1}
    assert good.is_empty()
    assert set(failure.details().columns) >= {"key", "size", "size|max"}
    assert set(failure.details()["size|max"].unique()) <= {"valid", "invalid", "unknown"}


def test_lightgbm_accepts_swapped_columns_silently() -> None:
    """The reason for Preparation: a booster looks at places, not at names."""
    dice = np.random.default_rng(0)
    rows = dice.random((200, 2))
    learned = lightgbm.Dataset(rows, rows[:, 0] > 0.5, feature_name=["decides", "noise"])
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "min_data_in_leaf": 5}, learned, num_boost_round=20
    )
    straight, swapped = booster.predict(rows), booster.predict(rows[:, ::-1])
    assert np.mean((np.asarray(straight) > 0.5) == (rows[:, 0] > 0.5)) > 0.95
    assert np.mean((np.asarray(swapped) > 0.5) == (rows[:, 0] > 0.5)) < 0.7


def test_lightgbm_predicts_no_rows_as_no_rows() -> None:
    rows = np.random.default_rng(0).random((50, 1))
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1}, lightgbm.Dataset(rows, rows[:, 0] > 0.5), num_boost_round=2
    )
    assert np.asarray(booster.predict(np.zeros((0, 1)))).shape == (0,)


def test_optuna_forgets_the_state_of_a_seeded_sampler_with_the_process() -> None:
    """The reason why each trial has a sampler of its own."""
    import optuna

    def tried(study: optuna.Study, trials: int) -> list[float]:
        study.sampler = optuna.samplers.TPESampler(seed=1)
        for _ in range(trials):
            trial = study.ask()
            study.tell(trial, trial.suggest_float("x", 0, 1))
        return [trial.params["x"] for trial in study.trials]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    at_once, resumed = optuna.create_study(), optuna.create_study()
    tried(resumed, 3)
    assert tried(at_once, 6)[:3] == tried(resumed, 3)[:3]
    assert [trial.params for trial in at_once.trials] != [trial.params for trial in resumed.trials]
