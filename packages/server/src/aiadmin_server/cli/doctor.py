"""`aiadmin doctor`: runs every check, ours and plugins', and says what to do."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ._verb import json_option, verb

if TYPE_CHECKING:
    from aiadmin_core.observe import DoctorCheck, Finding
    from aiadmin_core.plugins import Plugins

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@verb
@click.option("--verify", is_flag=True, help="Also read every file of every model, a second a gigabyte.")
@json_option
@click.pass_context
def command(ctx: click.Context, verify: bool, as_json: bool) -> None:
    """Check this machine and say what to do.

    Exits with 1 if there is a problem; a warning is none.
    """
    from ..doctor import verify_check
    from ._output import print_json
    from ._plugins import installed_plugins, quietly

    plugins = installed_plugins()
    with quietly():  # what is wrong with plugins is found below
        checks: list[DoctorCheck] = plugins.collect("aiadmin_doctor_checks")
        checks += missing_checks(plugins)
        if verify:
            checks.append(verify_check())
        findings: list[Finding] = []
        for check in checks:
            findings.append(run_check(check))
            if not as_json:
                _print(check.name, findings[-1], width=max(len(check.name) for check in checks))
    if as_json:
        print_json([_record(check, finding) for check, finding in zip(checks, findings, strict=True)])
    ctx.exit(status_of(findings))


def run_check(check: "DoctorCheck") -> "Finding":
    """What a check finds; what it raises is a problem."""
    from aiadmin_core.contracts import complaint
    from aiadmin_core.errors import AiAdminError
    from aiadmin_core.observe import Finding
    from aiadmin_core.plugins import HARM, error_text

    try:
        finding = check.run()
    except AiAdminError as error:
        return Finding(status="problem", summary=error.message, hint=error.hint)
    except HARM as error:  # a plugin's check may raise anything
        return Finding(status="problem", summary=f"the check failed: {error_text(error)}")
    if fault := complaint("finding", finding):
        return Finding(status="problem", summary=f"the check failed: it gave {fault}")
    return finding


def missing_checks(plugins: "Plugins") -> "list[DoctorCheck]":
    """In the place of the checks that plugins could not give: silence would look like health."""
    from aiadmin_core.observe import DoctorCheck, Finding

    hint = "Upgrade or uninstall the plugin."
    found = [
        (plugin.name, Finding(status="problem", summary=fault, hint=hint))
        for plugin in plugins.installed
        for fault in plugin.faults
        if fault.startswith("aiadmin_doctor_checks ")
    ]
    return [DoctorCheck(name=f"plugin {name}", run=lambda finding=finding: finding) for name, finding in found]  # type: ignore[misc]  # bound now


def status_of(findings: "Sequence[Finding]") -> int:
    """The exit status."""
    return int(any(finding.status == "problem" for finding in findings))


def _record(check: "DoctorCheck", finding: "Finding") -> dict[str, str]:
    return {"name": check.name, "status": finding.status, "summary": finding.summary, "hint": finding.hint}


def _print(name: str, finding: "Finding", *, width: int) -> None:
    status = finding.status.ljust(len("problem"))
    coloured = click.style(status, fg=COLOURS[finding.status]) if sys.stdout.isatty() else status
    click.echo(f"{coloured}  {name.ljust(width)}  {finding.summary}")
    if finding.hint and finding.status != "ok":
        click.echo(" " * (len(status) + width + 4) + finding.hint)
