"""The change that is offered for a refused call: tried before it is shown.

Here:  remedy to text, the text loaded as the file would be, and the call explained again by what came of it.
Never: serving it, files; offering what does not help, or would not load.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from corsproxy.config.compile import load_table
from corsproxy.config.table import Table
from corsproxy.dev.inspector.patch import PatchError, difference, patched
from corsproxy.proxy.explain import Explanation, explain
from corsproxy.proxy.explained import change_text

__all__ = ["Offer", "make_offer"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A change of the configuration's text, or why there is none."""

    text: str = ""  # the whole configuration with it; "" = nothing is offered
    changes: tuple[str, ...] = ()  # in words
    diff: str = ""
    caution: str = ""  # what to think of before; or why nothing is offered
    advice: str = ""  # what to do beside the file, or instead

    def as_json(self) -> dict[str, object]:
        """What the page shows of it; the text stays here."""
        return {
            "possible": bool(self.text),
            "changes": list(self.changes),
            "diff": self.diff,
            "caution": self.caution,
            "advice": self.advice,
        }


def make_offer(found: Explanation, table: Table, text: str, env: Mapping[str, str]) -> Offer:
    """What would let this call through. table, text: what serves now. env: for `${NAME}` in the text."""
    remedy = found.remedy
    if not remedy.changes:
        return Offer(caution=remedy.warning, advice=remedy.advice)
    name = table.file or "configuration"
    words = tuple(change_text(change, name) for change in remedy.changes)
    try:
        changed = patched(text, remedy.changes)
    except PatchError as error:
        return Offer(changes=words, caution=str(error), advice=remedy.advice)
    wrong = _why_not(changed, found, table.file, env)
    if wrong:
        return Offer(changes=words, caution=wrong, advice=remedy.advice)
    return Offer(changed, words, difference(text, changed, name), remedy.warning, remedy.advice)


def _why_not(changed: str, found: Explanation, file: str, env: Mapping[str, str]) -> str:
    """Why the changed text is no help; "" when it is."""
    table, problems = load_table(changed, file, env)
    if table is None:
        first = next(problem for problem in problems if problem.severity == "error")
        return f"the file would not load any more: {first.message}"
    again = explain(table, found.question)
    return "" if again.allowed else f"the call would still fail: {again.reason}"
