"""What decides about retraining in a replay: named policies, or one from a file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from platform_assets.declarations.declaration import NAME
from platform_assets.declarations.retraining import MONTHLY, NEVER, RetrainingPolicy
from platform_assets.errors import DeclarationError

DRIFT = RetrainingPolicy(alarms=3, cool_down=timedelta(days=28))
"""A monitor that alarms on three days in a row asks for a training, at most every four weeks."""
KNOWN = {"never": NEVER, "monthly": MONTHLY, "drift": DRIFT}
_MOST_DAYS = 10_000
_KEYS = ("every", "alarms", "fresh_rows", "cool_down_days")


def read_policy(said: str) -> tuple[str, RetrainingPolicy]:
    """The name of a policy and the policy: `never`, `monthly`, `drift`, or a TOML file named after it.

    A file holds any of `every = "month"`, `alarms = 3`, `fresh_rows = 20000` and `cool_down_days = 28`.

    Raises:
        DeclarationError: when there is no such policy, or the file says something else.
    """
    if said in KNOWN:
        return said, KNOWN[said]
    path = Path(said)
    if not path.is_file():
        msg = (
            f"no such policy: {said}; choose {', '.join(KNOWN)}, or name a TOML file, whose keys are {', '.join(_KEYS)}"
        )
        raise DeclarationError(msg)
    try:
        told = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"policy {said}: it is no TOML ({error})"
        raise DeclarationError(msg) from error
    strange = [key for key in told if key not in _KEYS]
    if strange:
        msg = f"policy {said}: it says {', '.join(strange)}; the keys are {', '.join(_KEYS)}"
        raise DeclarationError(msg)
    if not NAME.fullmatch(path.stem) or path.stem in KNOWN:
        msg = f"policy {said}: its file gives it its name, words in lower case such as eager.toml, none of {', '.join(KNOWN)}"
        raise DeclarationError(msg)
    days = told.pop("cool_down_days", 0)
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= _MOST_DAYS:
        msg = f"policy {said}: cool_down_days = {days!r}; write a number of days up to {_MOST_DAYS}, such as 28"
        raise DeclarationError(msg)
    try:
        policy = RetrainingPolicy(**told, cool_down=timedelta(days=days))
    except DeclarationError as error:
        msg = f"policy {said}: {error}"
        raise DeclarationError(msg) from error
    if not policy.asks:
        msg = f'policy {said}: it asks for no training; write every = "month" or alarms = 3, or take never'
        raise DeclarationError(msg)
    return path.stem, policy


def read_policies(said: Sequence[str]) -> dict[str, RetrainingPolicy]:
    """The policies by name, in the order in which they were asked for.

    Raises:
        DeclarationError: as `read_policy`, and where two files have one name.
    """
    found: dict[str, RetrainingPolicy] = {}
    for one in said:
        name, policy = read_policy(one)
        if found.setdefault(name, policy) != policy:
            msg = f"two policies are called {name}, the second of them {one}; call the file something else"
            raise DeclarationError(msg)
    return found
