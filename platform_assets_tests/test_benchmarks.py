"""The benchmarks run, and everyone in them gives the right answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import days, orchestration, training, upserts
from benchmarks.contest import Contest, work_alone

TINY = {
    "upserts": (upserts.CONTEST, {"per_day": 40, "young": 1, "grown": 2, "old": 4}),
    "training": (training.CONTEST, {"rows": 3_000}),
    "days": (days.CONTEST, {"per_day": 60, "young": 61, "grown": 62, "old": 63}),
    "orchestration": (orchestration.CONTEST, {"days": 3, "per_day": 40}),
}


@pytest.mark.parametrize(
    "name", ["upserts", *(pytest.param(n, marks=pytest.mark.slow) for n in TINY if n != "upserts")]
)
def test_the_answers_agree(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contest, sizes = TINY[name]
    contest.make(tmp_path, **sizes)
    for number, contender in enumerate(sorted(contest.contenders, key=lambda c: c != contest.truth)):
        monkeypatch.setattr("os.getpid", lambda number=number: number)  # as though each had a process of its own
        if contest.contenders[contender].judged:
            found = work_alone(contest, tmp_path, contender)
            assert found["wrong"] in ((None,) if contender == contest.truth else (0,)), contender


def test_a_wrong_answer_is_counted(tmp_path: Path) -> None:
    contest, sizes = TINY["upserts"]
    contest.make(tmp_path, **sizes)
    assert contest.wrong is not None
    rows = upserts.rows_of(upserts.NEW, 40)
    right = upserts.one_file(tmp_path / "right", rows)
    short = upserts.delta_overwrite(tmp_path / "short", rows.head(30))
    assert (contest.wrong(tmp_path, right), contest.wrong(tmp_path, short)) == (0, 10)


def sizes_of(contest: Contest) -> list[set[str]]:
    return [set(sizes) for sizes in contest.sizes.values()]


@pytest.mark.parametrize("name", TINY)
def test_every_size_tells_the_same_things(name: str) -> None:
    contest, sizes = TINY[name]
    assert sizes_of(contest) == [{*sizes, "repeat"}] * 3
