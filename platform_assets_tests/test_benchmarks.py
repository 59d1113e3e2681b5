"""The benchmarks run, and everyone in them gives the right answer."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import contest as contest_module
from benchmarks import days, memory, orchestration, peers, point_in_time, profiles, results, training, upserts
from benchmarks.__main__ import LONG, WORKS
from benchmarks.contest import Contest, work_alone

TINY = {
    "upserts": (upserts.CONTEST, {"per_day": 40, "young": 1, "grown": 2, "old": 4}),
    "training": (training.CONTEST, {"rows": 3_000}),
    "days": (days.CONTEST, {"per_day": 60, "young": 61, "grown": 62, "old": 63}),
    "memory": (memory.CONTEST, {"spine": 2_000, "group": 6_000, "days": 10}),
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
        if contest.contenders[contender].judged and not contest.contenders[contender].peer:
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


FIGURES = {"wall": 1.0, "processor": 1.5, "peak": 0.2, "spread": 0.1, "against": "ours"}
RECORD = {
    "benchmark": "joins",
    "work": "Joining",
    "note": "",
    "wrong_is": "wrong rows",
    "measured": "2026-11-27",
    "sizes": {"rows": 1_000, "repeat": 3},
    "figures": [
        {**FIGURES, "contender": "ours", "runs": 3, "ratio": 1.0, "wrong": None},
        {**FIGURES, "contender": "a peer", "runs": 3, "ratio": 12.5, "wrong": 1_234},
    ],
    "machine": {"cores": 2, "processor": "x86_64", "memory_gb": 24},
    "versions": {"python": "3.11.9"},
}


def test_the_readme_tells_what_was_measured() -> None:
    readme = (results.ROOT / "README.md").read_text()
    assert results.with_section(readme, results.records()) == readme
    told = results.FOLDER / "README.md"
    assert not results.records() or told.read_text() == results.tables(results.records())


def test_a_section_is_replaced_by_what_is_kept() -> None:
    readme = f"# Title\n{results.BEGIN}\nold\n{results.END}\n## Next\n"
    told = results.with_section(readme, [RECORD])
    assert told.startswith("# Title\n")
    assert told.endswith("\n## Next\n")
    assert "old" not in told
    assert "| **Joining** | | |\n| a peer | 12.50 of ours | 1,234 rows |" in told
    left = [{**f, "in_readme": f["contender"] == "ours"} for f in RECORD["figures"]]
    assert "| a peer" not in results.section([{**RECORD, "figures": left}])
    assert "| a peer" in results.tables([{**RECORD, "figures": left}])
    assert "Measured 2026-11-27 on 2 cores (x86_64) with 24 GB; python 3.11.9." in told
    with pytest.raises(ValueError, match="put both back"):
        results.with_section("# Title", [RECORD])


def test_what_else_is_told_becomes_columns() -> None:
    figures = [{**f, "told": {"AUC": 0.75, "lines": 1_200}} for f in RECORD["figures"]]
    whole = {**RECORD, "wrong_is": "wrong cells", "figures": figures}
    table = contest_module.as_markdown(whole)
    assert "| against ours | peak GB | wrong cells | AUC | lines |" in table
    assert "| a peer | 1.00 | 10% | 1.50 | 12.50 | 0.20 | 1,234 | 0.75000 | 1,200 |" in table
    assert table in results.section([RECORD, whole])
    assert "1,234 cells |" in results.section([whole])
    assert results.section([RECORD]).count("| ours |") == 0
    assert table.startswith("Joining, median of 3 or of what 20 s hold\n")
    once = contest_module.as_markdown({**whole, "sizes": {"repeat": 1}, "note": "Theirs has no checks."})
    assert once.startswith("Joining, each once\n")
    assert once.endswith(" |\n\nTheirs has no checks.")


def test_the_chart_is_drawn(tmp_path: Path) -> None:
    results.draw([RECORD, RECORD], tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")


def test_every_benchmark_is_in_the_command() -> None:
    declared = {path.stem for path in (results.ROOT / "benchmarks").glob("*.py") if "CONTEST = " in path.read_text()}
    assert declared == {*WORKS, *LONG}


def test_peers_are_left_out_where_they_are_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PEERS", str(tmp_path))
    monkeypatch.setattr(
        contest_module, "_told", lambda command: '{"wall": 1, "processor": 1, "peak": 1, "wrong": null}'
    )
    found = [f.contender for f in contest_module.hold(point_in_time.CONTEST, size="small")]
    assert found == [name for name, who in point_in_time.CONTEST.contenders.items() if not who.peer]
    assert "Feast on DuckDB" in capsys.readouterr().err


PEERED = {
    "point_in_time": (point_in_time.CONTEST, {"spine": 200, "group": 2_000}, 0),
    "profiles": (profiles.CONTEST, {"rows": 2_000}, 0.02),
    **{name: (*TINY[name], 0) for name in ("upserts", "orchestration")},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERED)
def test_peers_agree(name: str, tmp_path: Path) -> None:
    contest, sizes, tolerance = PEERED[name]
    assert peers.are_installed(), f"{peers.python()} is missing: make test-slow makes it, as make bench does"
    contest.make(tmp_path, **sizes)
    if contest.truth is not None:
        work_alone(contest, tmp_path, contest.truth)
    for contender in (name for name, who in contest.contenders.items() if who.peer and name != "Feast on DuckDB"):
        command = [peers.python(), "-m", contest.module, "--one", tmp_path, contender]
        done = subprocess.run(command, capture_output=True, text=True, cwd=peers.ROOT, env=os.environ | peers.SILENT)
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout.splitlines()[-1])["wrong"] <= tolerance, contender


def test_a_run_that_takes_more_memory_than_it_may_fails() -> None:
    with memory.limited(None), memory.limited(10**12):
        pass
    with pytest.raises(MemoryError, match=r"took .* MB of the 0 MB that it was allowed"), memory.limited(0):
        assert bytearray(b"1") * 2**26
