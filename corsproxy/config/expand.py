"""Environment variables in values: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar sign.

Here:  one pure function from (text, environment) to text or what is wrong with it.
Never: reading the environment of the process, keys of the document, shell features beyond these three.
"""

import re
from collections.abc import Mapping

from corsproxy.config.findings import Mistake
from corsproxy.config.words import did_you_mean, is_secret_name, quoted

__all__ = ["Expanded", "expand", "secrets_of"]

# A dollar that starts none of the three stays as it is: regular expressions end in one.
_DOLLAR = re.compile(r"\$\$|\$\{([^}]*)\}?")
_REFERENCE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class Expanded(str):
    """Text that came out of a scalar with a reference: what it is depends on the key it fills.

    `workers: ${WORKERS}` is a number, `name: ${NAME}` stays text even when it reads "42". Quotes make no
    difference, since within {} and [] YAML wants them around every reference.
    """

    __slots__ = ()


def expand(text: str, env: Mapping[str, str]) -> str | Mistake:
    """The text with every reference replaced; as in a shell, `:-` also stands in for an empty variable."""
    parts: list[str] = []
    at = 0
    for match in _DOLLAR.finditer(text):
        value = "$" if match[0] == "$$" else _value(match[0], match[1], env)
        if isinstance(value, Mistake):
            return value
        parts += text[at : match.start()], value
        at = match.end()
    return "".join((*parts, text[at:]))


def _value(written: str, inner: str, env: Mapping[str, str]) -> str | Mistake:
    reference = _REFERENCE.fullmatch(inner)
    if reference is None or not written.endswith("}"):
        remedy = "write ${NAME} or ${NAME:-default}; $$ stands for a dollar sign"
        shown = quoted(re.sub(":-.*", ":-…", written, flags=re.DOTALL))  # a default may be a secret, too
        return Mistake("env-syntax", f"{shown} is no reference to an environment variable", remedy)
    name, default = reference[1], reference[2]
    value = env.get(name)
    if value or (value is not None and default is None):
        return value
    if default is not None:
        return default
    remedy = did_you_mean(name, env) or f"set it, or give a default: ${{{name}:-…}}"
    return Mistake("env-unset", f"the environment variable {quoted(name)} is not set", remedy)


def secrets_of(text: str, env: Mapping[str, str]) -> dict[str, str]:
    """What a text holds of variables whose names speak of secrets: value to reference."""
    names = [
        reference[1]
        for match in _DOLLAR.finditer(text)
        if (reference := _REFERENCE.fullmatch(match[1] or ""))
    ]
    return {env[name]: f"${{{name}}}" for name in names if is_secret_name(name) and env.get(name)}
