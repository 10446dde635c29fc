"""The verdict on an audit: findings fail, and what could not be asked is said."""

import json
from dataclasses import dataclass

import pytest

from tests.deploy.scripts import script

audit = script("audit")

CLEAN = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
FOUND = {
    "name": "pyyaml",
    "version": "5.3",
    "vulns": [{"id": "PYSEC-2021-142", "fix_versions": ["5.4"]}, {"id": "GHSA-x", "fix_versions": []}],
}
UNKNOWN = {"name": "uvloop", "skip_reason": "Dependency not found"}
OFFLINE = "Traceback ...\nrequests.exceptions.ConnectionError: Max retries exceeded"


@dataclass(frozen=True)
class Case:
    says: str
    code: int
    words: tuple[str, ...]
    packages: tuple[dict[str, object], ...] = ()
    complaint: str = ""

    @property
    def report(self) -> str:
        return json.dumps({"dependencies": self.packages, "fixes": []}) if self.packages else ""


CASES = [
    Case("nothing is known", 0, ("lock: 1 packages audited, 0 known",), (CLEAN,)),
    Case(
        "findings fail, with the version that has the fix",
        1,
        (
            "2 packages audited, 2 known",
            "pyyaml 5.3: PYSEC-2021-142, fixed in 5.4",
            "GHSA-x, fixed in no version yet",
        ),
        (CLEAN, FOUND),
    ),
    Case(
        "a package that the service does not know is named",
        0,
        ("1 packages audited", "NOT AUDITED", "uvloop"),
        (CLEAN, UNKNOWN),
    ),
    Case(
        "a mirror that knows no advisories audits nothing",
        0,
        ("0 packages audited", "NOT AUDITED"),
        (UNKNOWN,),
    ),
    Case(
        "out of reach passes, and says so",
        0,
        ("NOT AUDITED: the advisory service", "Max retries"),
        (),
        OFFLINE,
    ),
    Case(
        "a tool that is missing does not pass",
        2,
        ("pip-audit failed", "No module named"),
        (),
        "No module named x",
    ),
    Case("a tool that says nothing does not pass", 2, ("pip-audit failed", "no reason given")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_verdict(case: Case) -> None:
    verdict = audit.judge(case.report, case.complaint, "lock")
    assert verdict.code == case.code
    for word in case.words:
        assert word in "\n".join(verdict.lines)


def test_the_worst_of_several_locks_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = {"one": 0, "two": 1}
    asked = []

    def fake(lock: str, options: list[str]) -> object:
        asked.append((lock, options))
        return audit.Verdict(codes[lock], (f"{lock}: said",))

    monkeypatch.setattr(audit, "audit", fake)
    assert audit.main(["one", "-sosv", "two"]) == 1
    assert asked == [("one", ["-sosv"]), ("two", ["-sosv"])]
    assert capsys.readouterr().out == "one: said\ntwo: said\n"
