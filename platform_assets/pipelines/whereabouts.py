"""Where in a project's own code an error came up, for whoever reads only its first line."""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from pathlib import Path

from platform_assets.declarations.declaration import Declaration

_OURS = Path(__file__).resolve().parents[1]
_LIBRARIES = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def whereabouts(declaration: Declaration, error: BaseException) -> str | None:
    """The project's function, file and line that an error came through; of a lazy frame, the function that made it.

    None when it came through no code of the project, as with the fitting of a model.
    """
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of_a_project(Path(frame.filename))]
    if theirs:
        return f"in {theirs[-1].name}, {_shown(theirs[-1].filename)} line {theirs[-1].lineno}"
    function = getattr(declaration, "transform", None)
    if function is not None:
        code = inspect.unwrap(function).__code__
        return f"in what {function.__name__} returns, {_shown(code.co_filename)} line {code.co_firstlineno}"
    return "in its SQL" if getattr(declaration, "sql", None) else None


def _is_of_a_project(file: Path) -> bool:
    if file.is_relative_to(_OURS):
        return file.is_relative_to(_OURS / "defs")
    return file.is_file() and not any(file.is_relative_to(folder) for folder in _LIBRARIES)


def _shown(file: str) -> str:
    here = Path.cwd()
    return str(Path(file).relative_to(here)) if Path(file).is_relative_to(here) else file
