"""Studies on disk: a trial is there whole or not at all, and two processes are never at the same one."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from platform_assets.errors import ModelError
from platform_assets.registry.studies import open_study, study_folder

SPACE = {
    "leaves": IntDistribution(3, 24, log=True),
    "rate": FloatDistribution(0.1, 0.5, log=True),
    "extra": CategoricalDistribution((True, False)),
}


def made(number: int) -> FrozenTrial:
    pruned = number % 3 == 2
    return create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=1 / (number + 3),
        params={"leaves": 3 + number, "rate": 0.1 + number / 70, "extra": bool(number % 2)},
        distributions=SPACE,
        intermediate_values={step: 1 / (step + 7) for step in range(number)},
        user_attrs={} if pruned else {"trees": 20 + number},
    )


def never() -> None:
    pytest.fail("nobody holds it")


def told(trial: FrozenTrial) -> tuple[object, ...]:
    return trial.number, trial.state, trial.value, trial.params, trial.intermediate_values, trial.user_attrs


def stored(folder: Path, key: str = "k") -> list[tuple[object, ...]]:
    with open_study(folder, key, wait=never) as file:
        return [told(trial) for trial in file.study.trials]


def written(folder: Path, count: int, key: str = "k") -> Path:
    with open_study(folder, key, wait=never) as file:
        for number in range(count):
            file.add(made(number))
    return file.path


WHOLE = [(n, *told(made(n))[1:]) for n in range(6)]


def test_what_was_added_is_there_to_the_bit_and_one_line_each(tmp_path: Path) -> None:
    path = written(tmp_path, 6)
    assert stored(tmp_path) == WHOLE
    assert len(path.read_text().splitlines()) == 1 + 6, "the study and its trials"


def test_optuna_opens_the_file_by_itself(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    study = optuna.load_study(study_name="k", storage=optuna.storages.JournalStorage(backend))
    assert [told(trial) for trial in study.trials] == WHOLE[:3]


def test_torn_anywhere_it_holds_the_trials_that_are_whole_and_takes_more(tmp_path: Path) -> None:
    """The twin counts the line ends before the tear."""
    path = written(tmp_path, 4)
    held = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(held) if byte == ord("\n")]
    tears = sorted(
        {*range(0, len(held), 41), *(end + by for end in ends for by in (-1, 0, 1) if end + by <= len(held))}
    )
    assert len(tears) > 40
    for tear in tears:
        for tail in (b"", b"\0" * 60, b"\x00\xff{]\n"):
            path.write_bytes(held[:tear] + tail)
            whole = max(sum(end <= tear for end in ends) - 1, 0)
            with open_study(tmp_path, "k", wait=never) as file:
                assert [told(trial) for trial in file.study.trials] == WHOLE[:whole], f"torn at {tear}"
                file.add(made(whole))
            assert stored(tmp_path) == WHOLE[: whole + 1]


@pytest.mark.parametrize("line", ['{"op_code": 99}', '{"op_code": 4, "worker_id": "w"}'])
def test_what_is_no_study_is_refused_and_named(tmp_path: Path, line: str) -> None:
    path = written(tmp_path, 1)
    path.write_text(line + "\n")
    with pytest.raises(ModelError, match=r"k\.journal cannot be read .* remove it, and it begins anew"):
        stored(tmp_path)


def test_a_trial_that_somebody_else_began_is_refused(tmp_path: Path) -> None:
    with open_study(tmp_path, "k", wait=never) as file:
        file.study.ask(SPACE)
    with pytest.raises(ModelError, match="has a trial 0 that somebody else began; remove it"):
        stored(tmp_path)


def test_the_others_of_a_model_are_removed(tmp_path: Path) -> None:
    for key in ("a", "b"):
        written(tmp_path, 1, key)
    with open_study(tmp_path, "c", wait=never) as file:
        assert file.remove_others() == 2
    assert {path.name for path in tmp_path.glob("*.journal")} == {"c.journal"}


def test_whoever_comes_second_waits_and_says_so_once(tmp_path: Path) -> None:
    waits, order = list[str](), list[str]()

    def second() -> None:
        with open_study(tmp_path, "other", wait=lambda: waits.append("waits")):
            order.append("second")

    with open_study(tmp_path, "k", wait=never):
        thread = threading.Thread(target=second)
        thread.start()
        deadline = time.monotonic() + 30
        while not waits and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)
        order.append("first")
    thread.join(30)
    assert (waits, order) == (["waits"], ["first", "second"])


def test_a_holder_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    code = f"import fcntl,time\nf=open({str(tmp_path / 'lock')!r},'a')\nfcntl.flock(f,fcntl.LOCK_EX)\nprint('held',flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waits: list[int] = []

        def wait() -> None:
            waits.append(1)
            holder.send_signal(signal.SIGKILL)

        with open_study(tmp_path, "k", wait=wait) as file:
            file.add(made(0))
    assert waits == [1]
    assert stored(tmp_path) == WHOLE[:1]


def test_each_model_has_a_folder_below_the_registry() -> None:
    assert study_folder(Path("r"), "shop", "return_model") == Path("r/studies/shop.return_model")
