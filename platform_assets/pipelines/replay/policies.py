"""What decides about retraining in a replay: named policies, or one from a file."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

from platform_assets.declarations.declaration import NAME
from platform_assets.declarations.retraining import MONTHLY, NEVER, RetrainingPolicy
from platform_assets.errors import DeclarationError

DRIFT = RetrainingPolicy(alarms=3, cool_down=timedelta(days=28))
"""A monitor that alarms on three days in a row asks for a training, at most every four weeks."""
KNOWN = {"never": NEVER, "monthly": MONTHLY, "drift": DRIFT}
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
    if isinstance(days, bool) or not isinstance(days, int):
        msg = f"policy {said}: cool_down_days = {days!r}; write a number of days, such as 28"
        raise DeclarationError(msg)
    return path.stem, RetrainingPolicy(**told, cool_down=timedelta(days=days))
