"""What `corsproxy dev` says while it runs: a line for each exchange, and below it what there is to know.

Here:  which lines, in which form (for people, for programs, or only what needs attention).
Never: what the hints say (`hints`, `parity`), where the lines go.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from corsproxy.cors.fields import shown
from corsproxy.dev.hints import Hint, hints_for
from corsproxy.dev.parity import Judge, Objection
from corsproxy.ops.log import json_line, pretty_line
from corsproxy.proxy.exchange import Exchange

__all__ = ["Form", "Terminal"]

Form = Literal["pretty", "coloured", "quiet", "json"]

_DIM, _YELLOW, _RED, _PLAIN = "\033[2m", "\033[33m", "\033[31m", "\033[0m"
_INDENT = " " * 10
_MOST_REMEMBERED = 1024  # hints that were given: what clients send is among them


@dataclass(slots=True)
class Terminal:
    """An observer of exchanges that writes lines."""

    write: Callable[[str], object]  # takes whole lines
    form: Form
    judge: Judge | None = None
    file: str = ""  # served by, so that hints can name its lines; "" = none
    _given: set[tuple[str, str]] = field(default_factory=set)

    def record(self, exchange: Exchange, ended: float) -> None:
        """Take one finished exchange. ended: seconds on the monotonic clock."""
        hints = [hint for hint in hints_for(exchange, self.file) if self._is_news(hint)]
        objection = None if self.judge is None else self.judge.judge(exchange, ended)
        if self.form == "json":
            lines = [_json_line(exchange, ended, hints, objection)]
        elif self.form == "quiet" and not hints and objection is None:
            return
        else:
            lines = [self._line(exchange, ended), *self._below(hints, objection)]
        self.write("".join(f"{line}\n" for line in lines))

    def tell(self, hints: Iterable[Hint]) -> None:
        """Say what is known before the first exchange; it is not said again. As JSON the exchange says it."""
        if self.form == "json":
            return
        for hint in hints:
            if self._is_news(hint):
                self.write("".join(f"{line}\n" for line in self._hint(hint)))

    def _is_news(self, hint: Hint) -> bool:
        """True for what was not said yet. What a memory of this size forgets is said again."""
        if not hint.key:
            return True
        key = (hint.topic, hint.key)
        if key in self._given:
            return False
        if len(self._given) >= _MOST_REMEMBERED:
            self._given.clear()
        self._given.add(key)
        return True

    def _line(self, exchange: Exchange, ended: float) -> str:
        line = pretty_line(exchange, ended, time.time(), colour=self.form == "coloured")
        extra = _asked(exchange) or ("replaced the API's own CORS fields" if exchange.stripped else "")
        return f"{line}  {self._tinted(_DIM, extra)}" if extra else line

    def _below(self, hints: Iterable[Hint], objection: Objection | None) -> Iterable[str]:
        for hint in hints:
            yield from self._hint(hint)
        if objection is not None:
            yield f"{_INDENT}{self._tinted(_RED, f'would fail in production: {objection.says}')}"
            if objection.to_do:
                yield f"{_INDENT}→ {objection.to_do}"

    def _hint(self, hint: Hint) -> Iterable[str]:
        if hint.says:
            yield f"{_INDENT}{self._tinted(_YELLOW, hint.says)}"
        if hint.to_do:
            yield f"{_INDENT}→ {hint.to_do}"

    def _tinted(self, tint: str, text: str) -> str:
        return f"{tint}{text}{_PLAIN}" if self.form == "coloured" else text


def _asked(exchange: Exchange) -> str:
    """What a preflight asks for: the method, and the names of headers."""
    if exchange.capture is None or not exchange.capture.request.is_preflight:
        return ""
    request = exchange.capture.request
    return " ".join(shown(each) for each in (request.requested_method, request.headers) if each)


def _json_line(exchange: Exchange, ended: float, hints: Iterable[Hint], objection: Objection | None) -> str:
    entry = json.loads(json_line(exchange, ended, time.time()))
    if asked := _asked(exchange):
        entry["asked"] = asked
    listed = [{"topic": hint.topic, "says": hint.says, "to_do": hint.to_do} for hint in hints]
    if listed:
        entry["hints"] = listed
    if objection is not None:
        entry["production"] = {"says": objection.says, "to_do": objection.to_do}
    return json.dumps(entry, ensure_ascii=False)
