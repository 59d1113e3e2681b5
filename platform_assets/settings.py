"""Settings: environment variables with working defaults, checked at the start.

- `PLATFORM_DATA`: where everything is written (default: data/ beside the package)
- `PLATFORM_HOST`: where the web pages listen (default: 127.0.0.1)
- `PLATFORM_PORT`: the port of the Dagster UI (default: 3000)
- `PLATFORM_MLFLOW_PORT`: the port of the MLflow UI (default: 5000)
- `PLATFORM_MEMORY`: how many gigabytes a computation of many days may take (default: half of what the machine has);
  what would take more is made in several stretches of days
- `PLATFORM_WEBHOOK`: an http(s) address that alerts are posted to (default: none, they go to the log)
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from platform_assets.errors import SettingsError

DEFAULT_DATA = Path(__file__).resolve().parent.parent / "data"
_HIGHEST_PORT = 65_535
_MISREAD = re.compile(r"%[0-9A-Fa-f]{2}|[\[\]*=]")
_PREFIX = "PLATFORM_"
_KNOWN = {
    "PLATFORM_DATA",
    "PLATFORM_HOST",
    "PLATFORM_PORT",
    "PLATFORM_MLFLOW_PORT",
    "PLATFORM_MEMORY",
    "PLATFORM_WEBHOOK",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where this deployment reads, writes and listens."""

    data: Path
    host: str
    port: int
    mlflow_port: int
    memory: int | None
    webhook: str | None

    @property
    def landing(self) -> Path:
        return self.data / "landing"

    @property
    def lake(self) -> Path:
        return self.data / "lake"

    @property
    def mlflow(self) -> Path:
        return self.data / "mlflow"

    @property
    def dagster_home(self) -> Path:
        return self.data / "dagster"

    def require_writable(self) -> None:
        """Make the data folder.

        Raises:
            SettingsError: when it cannot be made or written to.
        """
        try:
            for folder in (self.data, self.landing, self.lake, self.mlflow, self.dagster_home):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.data / f".write-test-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            msg = (
                f"the data folder {self.data} cannot be written to ({error.strerror}); make it writable, or name "
                "another one with PLATFORM_DATA"
            )
            raise SettingsError(msg) from error


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables.

    Raises:
        SettingsError: naming the variable, its value and what it should be.
    """
    strangers = sorted(name for name in environ if name.startswith(_PREFIX) and name not in _KNOWN)
    if strangers:
        msg = f"no such setting: {', '.join(strangers)}; there are {', '.join(sorted(_KNOWN))}"
        raise SettingsError(msg)
    data = Path(environ.get("PLATFORM_DATA") or DEFAULT_DATA).expanduser().absolute()
    if _MISREAD.search(str(data)):
        msg = (
            f"the data folder {data} has a name that Delta or Polars take for something else (a %20 for a space, [a-z] "
            "for a pattern, day=1 for a partition); name another one with PLATFORM_DATA"
        )
        raise SettingsError(msg)
    return Settings(
        data=data,
        host=environ.get("PLATFORM_HOST") or "127.0.0.1",
        port=_port(environ, "PLATFORM_PORT", 3000),
        mlflow_port=_port(environ, "PLATFORM_MLFLOW_PORT", 5000),
        memory=_bytes(environ, "PLATFORM_MEMORY"),
        webhook=_web_address(environ, "PLATFORM_WEBHOOK"),
    )


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= _HIGHEST_PORT:
        msg = f"{name}={text!r} is not a port; use a number from 1 to 65535, such as {default}"
        raise SettingsError(msg)
    return int(text)


def _bytes(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < float("inf"):
        msg = f"{name}={text!r} is no number of gigabytes; write 4 or 0.5, or leave it unset for half of the machine's"
        raise SettingsError(msg)
    return int(gigabytes * 1e9)


def _web_address(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name)
    if not text:
        return None
    if urlparse(text).scheme not in ("http", "https") or not urlparse(text).netloc:
        msg = f"{name}={text!r} is not a web address; write it with http:// or https://, or leave it unset"
        raise SettingsError(msg)
    return text
