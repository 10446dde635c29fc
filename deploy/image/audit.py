# ruff: noqa: INP001 - a script
"""Ask the advisory service about every package of the lock, and say what could not be asked.

Here:  pip-audit's report, told apart: findings (exit code 1), nothing known or nobody to ask (0, said aloud),
    and an audit that did not work (2).
Never: a silent pass. pip-audit itself exits with 0 for a package that the service does not know, and with 1
    for findings as for a service that is out of reach.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_OUT_OF_REACH = re.compile(
    r"Connect(?:ion|)(?:Error|Timeout)|ReadTimeout|ProxyError|SSLError|[Cc]ould not connect"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it, in lines for a person."""

    code: int
    lines: tuple[str, ...]


def judge(report: str, complaint: str, lock: str) -> Verdict:
    """The verdict on what pip-audit printed.

    report: its JSON, "" when it broke off; complaint: what it said beside that.
    """
    if not report.strip():
        last = complaint.strip().splitlines()[-1:] or ["no reason given"]
        if _OUT_OF_REACH.search(complaint):
            return Verdict(0, (f"{lock}: NOT AUDITED: the advisory service is out of reach", *last))
        return Verdict(2, (f"{lock}: NOT AUDITED: pip-audit failed", *last))
    packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    unasked = sorted(package["name"] for package in packages if "skip_reason" in package)
    findings = [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {_versions(found['fix_versions'])}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    lines = [
        f"{lock}: {len(packages) - len(unasked)} packages audited, {len(findings)} known to be vulnerable"
    ]
    if unasked:
        lines.append(f"NOT AUDITED, as the service does not know them: {', '.join(unasked)}")
    return Verdict(1 if findings else 0, (*lines, *findings))


def _versions(versions: Sequence[str]) -> str:
    return " or ".join(versions) or "no version yet"


def audit(lock: str, options: Sequence[str]) -> Verdict:
    """Run pip-audit on a lock. Nothing is installed or resolved: the lock names everything."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", lock, "--require-hashes", "--disable-pip"),
        *("--progress-spinner", "off", "--format", "json", *options),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return judge(done.stdout, done.stderr, lock)


def main(arguments: Sequence[str]) -> int:
    """Audit the locks that are named; what begins with a dash goes to pip-audit."""
    options = [argument for argument in arguments if argument.startswith("-")]
    verdicts = [audit(lock, options) for lock in arguments if not lock.startswith("-")]
    for verdict in verdicts:
        sys.stdout.write("\n".join(verdict.lines) + "\n")
    return max(verdict.code for verdict in verdicts)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
