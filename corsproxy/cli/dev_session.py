"""One run of `corsproxy dev`: its first words, its last ones, and what is kept for the next.

Here:  addresses on stdout, talk on stderr, with `--json` all talk on stderr; the state that outlives the run.
Never: options (cli.dev), serving (dev.run), what is said of exchanges (dev.terminal).
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click

from corsproxy import __version__
from corsproxy.config.certificates import PemError
from corsproxy.config.words import count
from corsproxy.dev.journal import Journal, SeenRoute
from corsproxy.dev.parity import Judge
from corsproxy.dev.profile import Profile, named_routes
from corsproxy.dev.run import DevError, Place, Wish, cookie_names_of, own_urls, run_dev
from corsproxy.dev.state import State, StateError
from corsproxy.dev.terminal import Form, Terminal
from corsproxy.ops.loop import run_loop
from corsproxy.ops.server import StartError
from corsproxy.ops.writer import LineWriter

__all__ = ["Session"]


@dataclass(frozen=True, slots=True)
class Session:
    """What was asked for."""

    profile: Profile
    form: Form
    judge: Judge | None
    state: State
    strict_port: bool = False
    save_to: Path | None = None
    open_page: bool = False

    def run(self) -> None:
        """Serve until a signal. Raises click.ClickException when it cannot start."""
        out = LineWriter(sys.stderr)
        lines = LineWriter(sys.stdout) if self.form == "json" else out
        journal = self._journal()
        wish = Wish(
            self.profile,
            Terminal(lines.write, self.form, self.judge, str(self.save_to or "")),
            journal,
            out,
            os.environ,
            strict_port=self.strict_port,
            save_to=self.save_to,
        )
        try:
            place = run_loop(run_dev(wish, self._announce, _farewell))
        except (DevError, OSError, StartError, PemError) as error:
            raise click.ClickException(str(error)) from error
        finally:
            lines.close()
            out.close()
        for line in (*self._kept(journal, place), *self._verdict()):
            click.echo(line, err=True)

    def _journal(self) -> Journal:
        routes = [
            SeenRoute(name, target.prefix, target.url, target.strips)
            for name, target in named_routes(self.profile.targets)
        ]
        return Journal(routes, self.judge.origin.decode("ascii") if self.judge else "")

    # At the start

    def _announce(self, place: Place) -> None:
        try:
            for line in self._first_words(place):
                click.echo(line, err=self.form == "json")
        except BrokenPipeError:
            # `corsproxy dev … | grep -m1 Proxy`: who has read enough does not end the proxy.
            _forget(sys.stderr if self.form == "json" else sys.stdout)
        if self.open_page:
            click.launch(place.inspector)

    def _first_words(self, place: Place) -> Iterator[str]:
        profile = place.profile
        yield f"corsproxy {__version__}"
        yield f"  Proxy      {profile.url}   use this as the base URL of the API"
        # To be seen: the frontend has the other port in its settings.
        if self.profile.port not in {0, profile.port}:
            yield f"             {self.profile.port} is {self._whose_port()}, so {profile.port}"
        for target in profile.targets:
            inner = "" if target.strips or target.prefix == "/" else target.prefix
            yield f"             {target.prefix} → {target.url}{inner}"
        yield f"  Inspector  {place.inspector}   what happens, and why"
        more = f" and {', '.join(profile.origins)}" if profile.origins else ""
        yield f"  Origins    pages of localhost, 127.0.0.1 and [::1], on any port{more} (more: --origin)"
        if self.judge is not None:
            judge = self.judge
            page, host = judge.origin.decode("ascii"), judge.asked_host.decode("ascii", "replace")
            yield f"  Judged by  {judge.table.file}, as {page} that calls {host}"
        if not profile.verify:
            yield "  Careful    --insecure: whoever sits between can pretend to be the API"

    def _whose_port(self) -> str:
        port = self.profile.port
        own = own_urls(port)
        return "the API's own" if any(each.authority in own for each in self.profile.targets) else "taken"

    # At the end

    def _kept(self, journal: Journal, place: Place) -> Iterator[str]:
        """Keep what the next run and `init --from-dev` want to know; say so, or why not."""
        if not journal.exchanges:
            return
        try:
            self.state.save_journal(journal)
            self.state.save_cookie_names(cookie_names_of(place.plane))
        except StateError as error:
            yield str(error)
            return
        seen = count(journal.exchanges, "exchange")
        yield f"{seen} seen; `corsproxy init --from-dev` writes a policy for production from them"

    def _verdict(self) -> Iterator[str]:
        """What production would have made of it."""
        judge = self.judge
        if judge is None:
            return
        if judge.undecided:
            calls = count(judge.undecided, "call")
            yield f"{calls} of scripts left to the API's own CORS fields by {judge.table.file} (cors: off)"
        if not judge.judged:
            yield "no call of a script was judged, so nothing is known of production"
            return
        failed = judge.failed.total()
        whole = "the one call of a script" if judge.judged == 1 else f"all {judge.judged} calls of scripts"
        if not failed:
            yield f"{whole} would work in production"
            return
        part = whole if failed == judge.judged else f"{failed} of {judge.judged} calls of scripts"
        yield f"{part} would fail in production:"
        for objection, times in judge.failed.most_common():
            yield f"  {times}×  {objection.call}: {objection.says}"
            if objection.to_do:
                yield f"      → {objection.to_do}"


def _forget(stream: TextIO) -> None:
    """Lead it nowhere: what is still to be flushed at the end would be complained about."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def _farewell() -> None:
    click.echo("Ending; Ctrl-C again ends at once.", err=True)
