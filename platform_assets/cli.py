"""The command `platform-assets`: what the Dagster tools do not already do."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from platform_assets.arguments import add_history_arguments, add_replay_arguments, add_report_arguments
from platform_assets.errors import PlatformError, SettingsError
from platform_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from platform_assets.declarations.catalogue import Catalogue
    from platform_assets.registry.versions import ModelName

NEXT = (
    ("make dev", "open the Dagster UI, with everything automatic switched on"),
    ("make mlflow", "open the MLflow UI"),
    ("make test", "run the tests"),
)
_WORKSPACE = Path(__file__).resolve().parent.parent / "workspace.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; an error is one sentence on standard error and an exit status of 1."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(load_settings(os.environ), chosen))
    except (PlatformError, OSError) as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        print("platform-assets: stopped; what was finished is kept", file=sys.stderr)
        return 130


def _complain(error: Exception) -> None:
    print(f"platform-assets: {error}", file=sys.stderr)


def refresh(settings: Settings, chosen: argparse.Namespace) -> int:
    """Bring every project up to date, or with `--plan` only say what is not."""
    from platform_assets.orchestration.projects import find_catalogues

    if chosen.plan:
        from platform_assets.answers import answer_plan

        return answer_plan(settings, allow=True, as_json=False)
    settings.require_writable()
    catalogues = find_catalogues()
    if not catalogues:
        print("there is no project below platform_assets/defs; declare one as the README shows")
    failed = False
    for catalogue in catalogues:
        try:
            bring_up_to_date(settings, catalogue)
        except PlatformError as error:
            # The other projects have nothing to do with it.
            _complain(error)
            failed = True
    return int(failed)


def bring_up_to_date(settings: Settings, catalogue: Catalogue) -> None:
    """Plan one project, carry the plan out as Dagster runs, and print what came of it.

    Raises:
        PlatformError: whatever stopped it, in one sentence.
    """
    from platform_assets.orchestration.definitions import build_definitions
    from platform_assets.orchestration.instance import open_instance
    from platform_assets.orchestration.outlook import decide
    from platform_assets.orchestration.refresh import any_stale, carry_out, divide, look_again
    from platform_assets.orchestration.resources import resources
    from platform_assets.pipelines.summary import summarize
    from platform_assets.terminal import Follow, console, show_places, show_plan, show_summary

    out = console()
    platform = resources(settings)["platform"].open()
    with open_instance(settings) as instance:
        stale = decide(platform, catalogue, instance, now=datetime.now(UTC))
        if not stale.steps or stale.waiting or stale.early:
            show_plan(out, catalogue, stale)
        runs = divide(catalogue, stale)
        definitions = build_definitions(catalogue, settings=settings)
        if runs:
            with Follow(out, sum(len(run.names) for run in runs)) as report:
                carry_out(definitions, instance, catalogue, runs, report=report)
        if runs or any_stale(instance, catalogue):
            look_again(definitions, instance, catalogue)
    show_summary(out, catalogue, summarize(platform, catalogue))
    show_places(out, settings, NEXT)


def plan(settings: Settings, chosen: argparse.Namespace) -> int:
    """Say what a refresh would recompute, which models and predictions that reaches, and what it would cost."""
    from platform_assets.answers import answer_plan

    return answer_plan(settings, allow=chosen.allow, as_json=chosen.json, assumed=chosen.change)


def trace(settings: Settings, chosen: argparse.Namespace) -> int:
    """Follow one prediction back to its model, its tables and the feature rows it was made from."""
    from platform_assets.answers import answer_trace

    return answer_trace(settings, chosen)


def reproduce(settings: Settings, chosen: argparse.Namespace) -> int:
    """Make a model again from what was recorded, compare, and say which link broke; nothing is written."""
    from platform_assets.answers import answer_reproduce

    return answer_reproduce(settings, chosen)


def replay(settings: Settings, chosen: argparse.Namespace) -> int:
    """Operate a project over its history as though live, and compare policies of retraining."""
    from platform_assets.replays import answer_replay

    return answer_replay(settings, chosen)


def usage(settings: Settings, chosen: argparse.Namespace) -> int:
    """Say who uses a feature, and whether it is safe to drop."""
    from platform_assets.answers import answer_usage

    return answer_usage(settings, chosen)


def history(settings: Settings, chosen: argparse.Namespace) -> int:
    """Say what happened and why, newest last: trainings, decisions, drift, corrections, refused rows, failed checks."""
    from platform_assets.reports import answer_history

    return answer_history(settings, chosen)


def report(settings: Settings, chosen: argparse.Namespace) -> int:
    """Write one HTML file to send: what alarmed, performance, drift, decisions, data health, lineage."""
    from platform_assets.reports import answer_report

    return answer_report(settings, chosen)


def maintain(settings: Settings, chosen: argparse.Namespace) -> int:
    """Keep every project's tables small, or with `--plan` only say what would go."""
    from platform_assets.declarations.names import MAINTENANCE
    from platform_assets.orchestration.definitions import build_definitions
    from platform_assets.orchestration.instance import open_instance
    from platform_assets.orchestration.projects import find_catalogues
    from platform_assets.orchestration.refresh import PlannedRun, carry_out
    from platform_assets.orchestration.resources import resources
    from platform_assets.pipelines.maintenance import plan_maintenance
    from platform_assets.terminal import Follow, console, show_maintenance

    if not settings.data.is_dir():
        msg = f"there is no data folder {settings.data}; correct PLATFORM_DATA, or run refresh to make it"
        raise SettingsError(msg)
    out, platform = console(), resources(settings)["platform"].open()
    for catalogue in find_catalogues():
        show_maintenance(out, catalogue, *plan_maintenance(platform, catalogue, now=datetime.now(UTC)))
        if not chosen.plan:
            definitions, run = (
                build_definitions(catalogue, settings=settings),
                PlannedRun(names=(MAINTENANCE,), days=None),
            )
            with open_instance(settings) as instance, Follow(out, 1) as report:
                carry_out(definitions, instance, catalogue, [run], report=report)
    return 0


def dev(settings: Settings, _: argparse.Namespace) -> int:
    """Serve the Dagster UI and run its daemon until interrupted."""
    from platform_assets.orchestration.instance import prepare_instance

    prepare_instance(settings)
    _require_free(settings.host, settings.port, "PLATFORM_PORT")
    print(f"Dagster UI: http://{settings.host}:{settings.port}  (stop with Ctrl-C)", flush=True)
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-w",
        str(_WORKSPACE),
        "-h",
        settings.host,
        "-p",
        str(settings.port),
    ]
    return _become(command)


def mlflow(settings: Settings, _: argparse.Namespace) -> int:
    """Serve the MLflow UI until interrupted."""
    from platform_assets.registry.models import Registry

    settings.require_writable()
    _require_free(settings.host, settings.mlflow_port, "PLATFORM_MLFLOW_PORT")
    registry = Registry(settings.mlflow)
    print(f"MLflow UI: http://{settings.host}:{settings.mlflow_port}  (stop with Ctrl-C)", flush=True)
    return _become(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            settings.host,
            "--port",
            str(settings.mlflow_port),
            "--backend-store-uri",
            registry.tracking_uri,
            "--default-artifact-root",
            registry.artifacts.absolute().as_uri(),
        ]
    )


def set_back(settings: Settings, chosen: argparse.Namespace) -> int:
    """Go back to the last version of a table that can be read."""
    from platform_assets.lake.repair import set_back as go_back
    from platform_assets.lake.tables import Lake

    now = datetime.now(UTC)
    done = go_back(Lake(settings.lake), chosen.table, run_id=f"set-back-{now:%Y%m%dT%H%M%S}", now=now)
    lost = f", with what it had written of {', '.join(map(str, done.days))}" if done.days else ""
    print(f"{chosen.table}: version {done.lost} is lost{lost}; its entry is kept in {done.kept}")
    print(f"{chosen.table}: version {done.is_now} is what version {done.lost - 1} was; run refresh next")
    return 0


def promote(settings: Settings, chosen: argparse.Namespace) -> int:
    """Make a version champion because somebody says so: an approval where it waits."""
    from platform_assets.orchestration.projects import find_catalogues
    from platform_assets.orchestration.promotions import promote as by_hand

    print(by_hand(settings, find_catalogues(), chosen.model, chosen.reason, as_json=chosen.json))
    return 0


def rollback(settings: Settings, chosen: argparse.Namespace) -> int:
    """Make the last champion champion again."""
    from platform_assets.orchestration.projects import find_catalogues
    from platform_assets.orchestration.promotions import roll_back_to_last

    print(roll_back_to_last(settings, find_catalogues(), chosen.model, chosen.reason, as_json=chosen.json))
    return 0


def champions(settings: Settings, chosen: argparse.Namespace) -> int:
    """Say who was champion, from when until when."""
    from platform_assets.orchestration.projects import find_catalogues
    from platform_assets.orchestration.promotions import champions as listed

    print(listed(settings, find_catalogues(), chosen.model, chosen.at, as_json=chosen.json))
    return 0


def _model(text: str) -> ModelName:
    from platform_assets.registry.versions import read_model_name

    try:
        return read_model_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _version(text: str) -> ModelName:
    found = _model(text)
    if not isinstance(found.which, int):
        msg = f"{text!r} names no version; add it, for example models:/{found.full}/3"
        raise argparse.ArgumentTypeError(msg)
    return found


def _version_or_alias(text: str) -> ModelName:
    found = _model(text)
    if found.which is None:
        msg = f"{text!r} names no version; write models:/{found.full}@champion or models:/{found.full}/3"
        raise argparse.ArgumentTypeError(msg)
    return found


def _reason(text: str) -> str:
    if not text.strip():
        msg = 'it is empty; say why, for example "holiday traffic"'
        raise argparse.ArgumentTypeError(msg)
    return text


def _at(text: str) -> object:
    from platform_assets.orchestration.promotions import parse_at

    try:
        return parse_at(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _become(command: Sequence[str]) -> int:
    """Replace this process by a server, with the signals as a terminal has them."""
    # A shell starts background jobs with SIGINT ignored, and Dagster passes that on to all its processes.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execv(command[0], list(command))  # noqa: S606


def _require_free(host: str, port: int, setting: str) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            msg = f"port {port} on {host} cannot be used ({error.strerror}); free it, or choose another with {setting}"
        else:
            msg = f"this machine cannot listen on {host} ({error.strerror}); choose another address with PLATFORM_HOST"
        raise SettingsError(msg) from error


_PLANS = {
    refresh: "only say what it would do, as the command plan --allow does",
    maintain: "say what would be merged and removed; change nothing",
}


_EPILOGS: dict[object, str] = {
    plan: """example: platform-assets plan --json
example: platform-assets plan --change shop/orders=2024-04-10:2024-04-14
exit code: 0, or 1 where a model that is champion would be fitted anew and --allow is not given, or a --change
names what is not declared or days that there are not""",
    trace: """example: platform-assets trace return_model-v1:20240401-000
exit code: 0, or 1 where it is not found, or something behind it is gone or does not agree""",
    reproduce: """example: platform-assets reproduce models:/shop.return_model@champion
exit code: 0, or 1 where it is not found, or a link broke""",
    usage: """example: platform-assets usage product_sales.orders_24h
exit code: 0 where it is safe to drop, or 1 where it is not, or not found""",
    history: """example: platform-assets history --model models:/flights.late_arrival_model --since 2013-12-01
example: platform-assets history --asset flights/weather --json
exit code: 0, or 1 where there is no such model or asset""",
}


def _prediction(text: str) -> str:
    from platform_assets.pipelines.trace import read_prediction_id

    try:
        return read_prediction_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _change(text: str) -> object:
    from platform_assets.pipelines.assumed import read_change

    try:
        return read_change(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


_SUBJECTS: dict[object, tuple[str, Callable[[str], object], str]] = {
    trace: ("PREDICTION", _prediction, "a prediction_id"),
    reproduce: ("MODEL", _version_or_alias, "models:/NAME@ALIAS or models:/NAME/VERSION"),
    usage: ("FEATURE", str, "GROUP.FEATURE, or a column of a feature view"),
    set_back: ("TABLE", str, "as the error names it, for example flights/departures"),
}
"""The one thing that a command is about: how it is called, read and explained."""

_TELLING = {history: add_history_arguments, report: add_report_arguments}
"""The commands that tell what happened, each with what it may be asked."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="platform-assets", description=__doc__.split(":", 1)[1].strip().capitalize())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    known = (
        (refresh, "refresh"),
        (plan, "plan"),
        (trace, "trace"),
        (reproduce, "reproduce"),
        (usage, "usage"),
        (history, "history"),
        (report, "report"),
        (maintain, "maintain"),
        (dev, "dev"),
        (mlflow, "mlflow"),
        (set_back, "set-back"),
        (promote, "promote"),
        (rollback, "rollback"),
        (champions, "champions"),
        (replay, "replay"),
    )
    for function, name in known:
        first_line = (function.__doc__ or "").splitlines()[0]
        command = commands.add_parser(
            name,
            help=first_line,
            description=first_line,
            epilog=_EPILOGS.get(function),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=function)
        if function in _PLANS:
            command.add_argument("--plan", action="store_true", help=_PLANS[function])
        if function in _EPILOGS:
            command.add_argument("--json", action="store_true", help="print JSON")
        if function is plan:
            command.add_argument("--allow", action="store_true", help="also where a champion would be fitted anew")
            written = "say what would follow if it changed: PROJECT/NAME, or only days: PROJECT/NAME=DAY or =FIRST:LAST"
            command.add_argument("--change", action="append", default=[], type=_change, metavar="CHANGE", help=written)
        if function in _SUBJECTS:
            metavar, read, written = _SUBJECTS[function]
            command.add_argument(metavar.lower(), metavar=metavar, type=read, help=written)
        if function in _TELLING:
            _TELLING[function](command, _model)
        if function is replay:
            add_replay_arguments(command)
        if function in _OF_CHAMPIONS:
            _add_champion_arguments(command, function)
    return parser


_OF_CHAMPIONS: dict[object, str] = {
    promote: 'platform-assets promote models:/flights.late_arrival_model/3 --reason "holiday traffic"',
    rollback: 'platform-assets rollback models:/flights.late_arrival_model --reason "too many complaints"',
    champions: "platform-assets champions models:/flights.late_arrival_model --at 2013-06-14",
}
"""The commands about champions, each with an example."""


def _add_champion_arguments(command: argparse.ArgumentParser, function: object) -> None:
    command.epilog = f"example: {_OF_CHAMPIONS[function]}; exits with 0 when done, 1 when refused, 2 on wrong usage"
    if function is promote:
        command.add_argument("model", metavar="MODEL", type=_version, help="as MLflow writes it: models:/NAME/VERSION")
    else:
        command.add_argument("model", metavar="MODEL", type=_model, help="as MLflow writes it: models:/NAME")
    if function is champions:
        command.add_argument("--at", type=_at, help="only who was then: a day (UTC), or an instant with its zone")
    else:
        command.add_argument("--reason", required=True, type=_reason, help="kept with the decision")
    command.add_argument("--json", action="store_true", help="print JSON")


if __name__ == "__main__":
    sys.exit(main())
