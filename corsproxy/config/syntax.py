"""Faults of YAML syntax in words, from what PyYAML raises.

Here:  where the fault stands, which of the known traps it is, and what to write instead.
Never: reading documents. libyaml and the pure reader use different words; both are understood.
"""

import re

import yaml

from corsproxy.config.findings import Mark, Mistake
from corsproxy.config.words import quoted

__all__ = ["MAX_DEPTH", "TOO_DEEP", "explain", "place_of", "unquoted_at"]

MAX_DEPTH = 32
TOO_DEEP = Mistake(
    "yaml-too-deep", f"nested deeper than {MAX_DEPTH} levels", "no key of this file needs that"
)

# None of these can start a plain scalar (YAML 1.1 §5.3); people write them where they mean the character.
_NEED_QUOTES = frozenset("*&@`%")
_UNQUOTED_REFERENCE = re.compile(r"""[^\n"']*?(\$\{[^}\n]*\})""")
_WORD = re.compile(r"[^\s,\]}#]*")


def place_of(error: Exception) -> Mark:
    """Where to point: for something left open, at its start; else where reading stopped."""
    opened = getattr(error, "context_mark", None)
    mark = getattr(error, "problem_mark", None)
    if opened is not None and _is_left_open(error):
        mark = opened
    return Mark(mark.line + 1, mark.column + 1) if mark is not None else Mark(1, 1)


def unquoted_at(text: str, error: Exception) -> int | None:
    """The index of a character that only lacks its quotes; None when the fault is another one."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return None
    context = error.context or ""
    scanning_name = "alias" in context or "anchor" in context
    mark = error.context_mark if scanning_name else error.problem_mark
    if mark is None or mark.index >= len(text) or text[mark.index] not in _NEED_QUOTES:
        return None
    return mark.index


def explain(text: str, error: Exception) -> Mistake:
    """The fault in our words, and what to do about it."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return Mistake("yaml-syntax", "not valid YAML")
    problem = error.problem or ""
    if "maximum nesting depth" in problem:  # libyaml looks ahead, and has a limit of its own: 1,000
        return TOO_DEEP
    if _is_tab(text, error):
        return Mistake("yaml-tab", "a tab cannot indent YAML", "indent with spaces")
    if _is_left_open(error):
        if reference := _reference_after(text, error):
            remedy = f'quote it: "{reference}"'
            return Mistake(
                "yaml-syntax", f"not valid YAML: {reference} needs quotes within {{}} and []", remedy
            )
        return Mistake("yaml-syntax", f"not valid YAML: {_opened(error)} is never closed", "close it")
    if "mapping values are not allowed" in problem:
        remedy = "indent the keys of one mapping alike; quote a value that holds ': '"
        return Mistake("yaml-syntax", "not valid YAML: a ':' stands where no key can", remedy)
    if "could not find expected ':'" in problem:
        return Mistake("yaml-syntax", "not valid YAML: a ':' is missing after a key", "write `key: value`")
    if any(words in problem for words in ("<block end>", "expected key", "expected '-' indicator")):
        remedy = "indent the keys of one mapping, and the dashes of one list, alike"
        return Mistake("yaml-syntax", "not valid YAML: neither a key nor the end of the block", remedy)
    if "cannot start any token" in problem:
        word = _word_at(text, error)
        return Mistake(
            "yaml-syntax", f"not valid YAML: {quoted(word[:1])} cannot start a value", f"quote it: '{word}'"
        )
    return Mistake("yaml-syntax", f"not valid YAML: {problem}")


def _is_left_open(error: Exception) -> bool:
    context = getattr(error, "context", None) or ""
    problem = getattr(error, "problem", None) or ""
    return (
        ("quoted scalar" in context and "end of stream" in problem)
        or ("quoted scalar" in context and "document indicator" in problem)
        or "flow sequence" in context
        or "flow mapping" in context
    )


def _reference_after(text: str, error: yaml.MarkedYAMLError) -> str:
    """The first unquoted ${NAME} in the braces or brackets that seem open; "" = none."""
    mark = error.context_mark
    found = None if mark is None else _UNQUOTED_REFERENCE.match(text, mark.index)
    return found[1] if found else ""


def _opened(error: yaml.MarkedYAMLError) -> str:
    context = error.context or ""
    if "sequence" in context:
        return "a '['"
    return "a '{'" if "mapping" in context else "a quote"


def _is_tab(text: str, error: yaml.MarkedYAMLError) -> bool:
    """True when reading stopped at a tab, or on a line that a tab indents."""
    mark = error.problem_mark
    if mark is None:
        return False
    start = text.rfind("\n", 0, mark.index) + 1
    indent = text[start : mark.index + 1]
    return "\t" in indent and not indent.strip(" \t-")


def _word_at(text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    match = _WORD.match(text, mark.index) if mark is not None else None
    return match[0] if match else ""
