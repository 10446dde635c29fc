"""The configuration that serves, and the way from it to another one.

Here:  reading and compiling in steps that can fail, swapping whole, what is known of the last attempt, and a
       look at the files now and then.
Never: how a table serves (server, supervisor), signals, HTTP, the rules of the file (config).
"""

import asyncio
import contextlib
import hashlib
import logging
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from corsproxy.config.certificates import PemError, read_pem
from corsproxy.config.compile import load_table
from corsproxy.config.overrides import NO_OVERRIDES, Overrides
from corsproxy.config.problems import Problem
from corsproxy.config.search import STDIN, ConfigUnreadableError, read_config
from corsproxy.config.table import Table
from corsproxy.ops.plane import Reload, State

__all__ = ["ConfiguredPlane", "Loaded", "RefusedError", "Source", "load_source", "load_text"]

_log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_SETTLE_SECONDS = 0.1  # a file that is still being written changes again by then
_MISSED_POLLS = 10  # a file that is swapped is gone for a moment; one gone for longer is worth a line
_NEVER_A_FILE = "there is no file to read again: the configuration came from elsewhere"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from."""

    file: str  # as given; "-" = standard input, which can be read once; "" = built in code
    env: Mapping[str, str]
    overrides: Overrides = NO_OVERRIDES

    @property
    def can_change(self) -> bool:
        """True when there is a file to look at again: standard input and pipes can be read once."""
        if self.file in {"", STDIN}:
            return False
        return _is_regular(self.file, otherwise=True)  # gone, or not ours to see: for the moment, perhaps


@dataclass(frozen=True, slots=True)
class Loaded:
    """A text, and what came of it."""

    text: str
    table: Table | None  # None = one of the problems is an error
    problems: tuple[Problem, ...]

    @property
    def served(self) -> Table:
        """The table of a text without errors. Raises ValueError for any other."""
        if self.table is None:
            raise ValueError("only a configuration without errors can serve")
        return self.table

    @property
    def version(self) -> str:
        """12 hexadecimal digits of the SHA-256 of the text."""
        return _digest_of_text(self.text).hex()[:12]


def load_source(source: Source) -> Loaded:
    """Read and compile. Raises ConfigUnreadableError."""
    return load_text(read_config(source.file, source.env)[1], source)


def load_text(text: str, source: Source) -> Loaded:
    """Compile a text as if it stood in the file."""
    table, problems = load_table(text, source.file, source.env, source.overrides)
    return Loaded(text, table, tuple(problems))


class RefusedError(Exception):
    """A configuration that compiles cannot be served; the text is one line for a person."""


class ConfiguredPlane(ABC):
    """The part of a `Plane` that is the same for one process and many: what serves, from the first load to
    the end. One attempt to load another runs at a time.
    """

    def __init__(self, source: Source, loaded: Loaded) -> None:
        """loaded: what serves first."""
        self.table = loaded.served
        self.text = loaded.text
        self.state = State(loaded.version, time.time())
        self._source = source
        self._had_file = source.can_change
        self._turn = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None
        self._seen: dict[str, bytes] = {}  # the contents of the files that were last loaded, or refused
        self._missed = 0  # looks in a row that did not find the file

    @abstractmethod
    async def _take(self, loaded: Loaded) -> None:
        """Serve by another configuration. Raises RefusedError or PemError, and goes on as before."""

    async def reload(self) -> Reload:
        """Read the file again, and serve by it if it has no errors."""
        if not self._source.can_change:
            self._seen.pop(self._source.file, None)
            return self._failed((_no_file(self._source.file) if self._had_file else _NEVER_A_FILE,))
        async with self._turn:
            try:
                return await self._read_again()
            except ConfigUnreadableError as error:
                self._seen.pop(self._source.file, None)  # so it is loaded when it is back, changed or not
                return self._failed((str(error),))
            except Exception:  # noqa: BLE001 - whoever asked must hear of it, systemd too, and may ask again
                _log.exception("internal error; the configuration was not loaded")
                return self._failed(("internal error; the log says more",))

    async def _read_again(self) -> Reload:
        """Raises ConfigUnreadableError."""
        found = await self._contents()
        loaded = await asyncio.to_thread(load_source, self._source)
        outcome = await self._serve(loaded)
        await self._note(found)
        return outcome

    async def apply(self, text: str) -> Reload:
        """Serve by this text instead of the file's, until that changes. Who has it made is told of warnings
        by the result; the log is not, as it was when the file was loaded.
        """
        async with self._turn:
            loaded = await asyncio.to_thread(load_text, text, self._source)
            return await self._serve(loaded, warns=False)

    async def _serve(self, loaded: Loaded, *, warns: bool = True) -> Reload:
        says = tuple(problem.as_text() for problem in loaded.problems)
        if loaded.table is None:
            return self._failed(says)
        if self.state.draining:
            return self._failed(("the process is on its way out, and loads nothing any more",))
        kept, needs_restart = _keep_what_cannot_change(self.table, loaded.table)
        if needs_restart and (objections := await self._objections_where_it_listens(loaded.text)):
            return self._failed((*objections, *map(_kept_line, needs_restart)))
        try:
            await self._take(replace(loaded, table=kept))
        except (RefusedError, PemError) as error:
            return self._failed((*says, str(error)))
        self.table, self.text = kept, loaded.text
        now = time.time()
        done = Reload(ok=True, at=now, problems=says, needs_restart=needs_restart)
        self.state = replace(self.state, version=loaded.version, loaded_at=now, last_reload=done)
        for problem in says if warns else ():
            _log.warning("%s", problem)
        for key in needs_restart:
            _log.warning("%s", _kept_line(key))
        _log.info("configuration %s serves now: %s", loaded.version, _described(kept))
        return done

    async def _objections_where_it_listens(self, text: str) -> tuple[str, ...]:
        """What speaks against a text at the old addresses, which stay: an upstream may lead back to them."""
        admin = self.table.admin
        here = replace(
            self._source.overrides,
            listen=self.table.listen,
            admin=None if admin is None else admin.address,
            admin_off=admin is None,
        )
        loaded = await asyncio.to_thread(load_text, text, replace(self._source, overrides=here))
        return () if loaded.table else tuple(problem.as_text() for problem in loaded.problems)

    def _failed(self, says: tuple[str, ...]) -> Reload:
        failed = Reload(ok=False, at=time.time(), problems=says)
        self.state = replace(self.state, last_reload=failed)
        for problem in says:
            _log.error("%s", problem)
        _log.error("the new configuration is not used; %s goes on serving", self.state.version)
        return failed

    def drain(self) -> None:
        """From here on the process is on its way out: nothing is loaded any more."""
        self.stop_watching()
        self.state = replace(self.state, draining=True)

    # Looking at the files

    def watch_files(self, seconds: float = _POLL_SECONDS) -> None:
        """Look at the content of the files every so many seconds, until `stop_watching`.

        By content: a mounted ConfigMap changes by swapping a symbolic link above the file, editors write
        another file and rename it, and neither shows in the file that was opened first.
        """
        if self._source.can_change:
            self._watcher = asyncio.get_running_loop().create_task(self._look(seconds))

    async def _look(self, seconds: float) -> None:
        is_first, is_well = True, True
        while True:
            try:
                if is_first:
                    # What serves is the text as it was at the start: a change since then is seen, too.
                    self._seen = await self._contents() | {self._source.file: _digest_of_text(self.text)}
                    is_first = False
                await self._look_once()
                is_well = True
            except Exception:  # noqa: BLE001 - one look fails, and no later one; said once
                if is_well:
                    _log.exception("internal error; the files are looked at again")
                is_well = False
            await asyncio.sleep(seconds)

    async def _look_once(self) -> None:
        found = await self._contents()
        self._missed = 0 if self._source.file in found else self._missed + 1
        if self._missed == _MISSED_POLLS:
            _log.warning(
                "%s cannot be read any more; %s goes on serving", self._source.file, self.state.version
            )
        if not self._missed and self._is_news(found):
            await asyncio.sleep(_SETTLE_SECONDS)
            if await self._contents() == found:  # else somebody still writes
                await self._load_settled(found)

    async def _load_settled(self, found: dict[str, bytes]) -> None:
        """Try to serve by the files, unless they change again, or somebody who asked for it was faster."""
        async with self._turn:
            try:
                loaded = await asyncio.to_thread(load_source, self._source)
                if self._is_news(found) and _digest_of_text(loaded.text) == found[self._source.file]:
                    await self._serve(loaded)
                    await self._note(found)
            except ConfigUnreadableError:
                pass  # it is waited for
            except Exception:  # noqa: BLE001 - a mistake of ours costs this change, and not every later one
                _log.exception("internal error; the configuration was not loaded")
                await self._note(found)

    def _is_news(self, found: dict[str, bytes]) -> bool:
        """True when a file says something else than before; one that cannot be read is waited for."""
        return any(self._seen.get(path) != digest for path, digest in found.items())

    async def _note(self, found: dict[str, bytes]) -> None:
        """Take these for seen, and files that are named only now. found: before loading: what came meanwhile
        is still to be seen.
        """
        self._seen = await self._contents() | found

    async def _contents(self) -> dict[str, bytes]:
        return await asyncio.to_thread(_digests, self._files())

    def _files(self) -> tuple[str, ...]:
        """The file itself, then the PEM files towards upstreams that it names."""
        settings = dict.fromkeys(route.upstream.tls for route in self.table.routes)
        pem = (path for tls in settings for path in (tls.ca, tls.cert, tls.key) if path)
        return (self._source.file, *dict.fromkeys(pem))

    def stop_watching(self) -> None:
        """Look no more."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None


def _keep_what_cannot_change(old: Table, new: Table) -> tuple[Table, tuple[str, ...]]:
    """The new table with the old listeners and workers, and which keys had another value."""
    changed = [key for key in ("listen", "admin", "workers") if getattr(old, key) != getattr(new, key)]
    tls = new.tls
    if (old.tls is None) != (new.tls is None):
        changed.append("listen.tls")
        tls = old.tls
    kept = replace(new, listen=old.listen, admin=old.admin, workers=old.workers, tls=tls)
    return kept, tuple(changed)


def _no_file(file: str) -> str:
    return f"{file} is no file any more"


def _kept_line(key: str) -> str:
    return f"{key} changed, and keeps its old value until the next start"


def _described(table: Table) -> str:
    routes = len(table.routes)
    return f"{routes} {'route' if routes == 1 else 'routes'} from {table.file or 'code'}"


def _digests(files: tuple[str, ...]) -> dict[str, bytes]:
    """The contents of the files that can be read now, by path."""
    config, *pem = files
    found = {path: hashlib.sha256(content).digest() for path in pem if (content := _content(path))}
    with contextlib.suppress(ConfigUnreadableError):
        if _is_regular(config):  # opening a pipe could block, and a directory is nothing to read
            found[config] = _digest_of_text(read_config(config, {})[1])
    return found


def _is_regular(path: str, *, otherwise: bool = False) -> bool:
    """Is it a plain file? otherwise: where the system does not say."""
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):  # gone, no permission, a server that does not answer, a NUL in the path
        return otherwise


def _digest_of_text(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _content(path: str) -> bytes:
    """What is in a PEM file; b"" = it cannot be read now."""
    try:
        return read_pem("ca", path)
    except PemError:
        return b""
