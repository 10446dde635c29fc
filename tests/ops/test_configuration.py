"""Which configuration serves, and what makes it another one: files that change, and the ways they do."""

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from corsproxy.config.certificates import PemError
from corsproxy.config.overrides import Overrides
from corsproxy.config.table import Address
from corsproxy.ops import configuration
from corsproxy.ops.configuration import (
    ConfiguredPlane,
    Loaded,
    RefusedError,
    Source,
    load_source,
    load_text,
)
from corsproxy.ops.snapshot import Snapshot
from tests.certificates import Files, files_of, issue

PATIENCE = 10.0
POLL = 0.01


def text_of(mark: str, extra: str = "") -> str:
    """A configuration that is told apart from others by the name of its route."""
    return f"{extra}routes:\n  - name: {mark}\n    upstream: http://127.0.0.1:9000\n    cors: off\n"


class File:
    """The configuration file. What it takes to change it is short enough for the event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write(text_of("old"))

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def read(self) -> str:
        return self.path.read_text()

    def remove(self) -> None:
        self.path.unlink()

    def __str__(self) -> str:
        return str(self.path)


class Plane(ConfiguredPlane):
    """Takes every configuration down, and raises what a test wants."""

    def __init__(self, source: Source, loaded: Loaded) -> None:
        super().__init__(source, loaded)
        self.taken: list[str] = []
        self.raises: list[Exception] = []
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.taking = asyncio.Event()
        self._looks = 0
        self._looked = asyncio.Condition()

    async def _take(self, loaded: Loaded) -> None:
        self.taking.set()
        await self.may_take.wait()
        if self.raises:
            raise self.raises.pop()
        self.taken.append(loaded.text)

    async def _contents(self) -> dict[str, bytes]:
        found = await super()._contents()
        async with self._looked:
            self._looks += 1
            self._looked.notify_all()
        return found

    async def looks(self, count: int) -> None:
        """Wait until the files were looked at so many more times."""
        async with asyncio.timeout(PATIENCE), self._looked:
            wanted = self._looks + count
            await self._looked.wait_for(lambda: self._looks >= wanted)

    async def serves(self, text: str) -> None:
        """Wait until this text serves."""
        async with asyncio.timeout(PATIENCE):
            while self.text != text:
                await self.looks(1)

    async def failed(self) -> tuple[str, ...]:
        """Wait for an attempt that failed; its problems."""
        async with asyncio.timeout(PATIENCE):
            while (last := self.state.last_reload) is None or last.ok:
                await self.looks(1)
        return last.problems

    async def snapshot(self) -> Snapshot:
        raise NotImplementedError


@contextlib.asynccontextmanager
async def watching(file: Path | File, text: str | None = None) -> AsyncIterator[Plane]:
    """A plane that looks at the file often. text: what it has loaded; None = the file's."""
    source = Source(str(file), {})
    plane = Plane(source, load_source(source) if text is None else load_text(text, source))
    plane.watch_files(POLL)
    try:
        yield plane
    finally:
        plane.stop_watching()


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "corsproxy.yaml")


@pytest.fixture(autouse=True)
def settles_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "_SETTLE_SECONDS", POLL)


# Ways in which a file changes


def written_in_place(file: Path, text: str) -> None:
    file.write_text(text)


def renamed_over_it(file: Path, text: str) -> None:
    """As editors save."""
    other = file.with_suffix(".swp")
    other.write_text(text)
    other.rename(file)


def away_for_a_moment(file: Path, text: str) -> None:
    """As others do: a backup first, then the new one in its place."""
    file.rename(file.with_suffix(".bak"))
    file.write_text(text)


def with_other_line_ends_and_more(file: Path, text: str) -> None:
    file.write_bytes(text.replace("\n", "\r\n").encode())


@pytest.mark.parametrize(
    "change", [written_in_place, renamed_over_it, away_for_a_moment, with_other_line_ends_and_more]
)
async def test_a_change_is_served(file: File, change: Callable[[Path, str], None]) -> None:
    async with watching(file) as plane:
        await plane.looks(2)
        change(file.path, text_of("new"))
        await plane.serves(text_of("new"))
        await plane.looks(5)
        assert plane.taken == [text_of("new")]  # once
        last = plane.state.last_reload
        assert last is not None
        assert last.ok
        assert plane.state.version == hashlib.sha256(text_of("new").encode()).hexdigest()[:12]
        assert plane.table.routes[0].name == "new"


async def test_a_configmap_is_swapped_by_its_folder(tmp_path: Path) -> None:
    """The kubelet writes a folder, and renames a link to it over the one that is there: `..data`."""
    for mark in ("old", "new"):
        (tmp_path / f"..{mark}").mkdir()
        (tmp_path / f"..{mark}" / "corsproxy.yaml").write_text(text_of(mark))
    (tmp_path / "..data").symlink_to("..old")
    file = tmp_path / "corsproxy.yaml"
    file.symlink_to("..data/corsproxy.yaml")
    async with watching(file) as plane:
        await plane.looks(2)
        (tmp_path / "..data_tmp").symlink_to("..new")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        shutil.rmtree(tmp_path / "..old")
        await plane.serves(text_of("new"))
        assert plane.taken == [text_of("new")]


# What is no change


def nothing(file: Path) -> None:
    """Do not touch it."""


def touched(file: Path) -> None:
    os.utime(file, (1, 1))


def written_again(file: Path) -> None:
    file.write_text(file.read_text())


def gone(file: Path) -> None:
    file.unlink()


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_pipe(file: Path) -> None:
    """To open one would block as long as nobody writes."""
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("change", [nothing, touched, written_again, gone, a_folder, a_pipe])
async def test_the_old_one_serves_on(file: File, change: Callable[[Path], None]) -> None:
    async with watching(file) as plane:
        await plane.looks(2)
        change(file.path)
        await plane.looks(10)
        assert plane.taken == []
        assert plane.state.last_reload is None


async def test_a_file_that_is_gone_for_long_is_said_once(
    file: File, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(file) as plane:
        before = file.read()
        file.remove()
        await plane.looks(30)
        assert [record.getMessage() for record in caplog.records] == [
            f"{file} cannot be read any more; {plane.state.version} goes on serving"
        ]
        file.write(before)
        await plane.looks(5)
        assert plane.taken == []  # it is what serves
        file.write(text_of("new"))
        await plane.serves(text_of("new"))


def may_not_be_seen(patch: pytest.MonkeyPatch, path: Path) -> None:
    """As in a folder without the permission to search it; root may see everything, so the system is asked
    to say no.
    """
    stat = Path.stat

    def refuse(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return stat(self, follow_symlinks=follow_symlinks)

    patch.setattr(Path, "stat", refuse)


async def test_a_file_that_may_not_be_seen_for_a_while_is_waited_for(
    file: File, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(file) as plane:
        with pytest.MonkeyPatch.context() as patch:
            may_not_be_seen(patch, file.path)
            await plane.looks(30)
            assert [record.getMessage() for record in caplog.records] == [
                f"{file} cannot be read any more; {plane.state.version} goes on serving"
            ]
            assert plane._source.can_change
        file.write(text_of("new"))
        await plane.serves(text_of("new"))


async def test_a_look_that_fails_is_said_once_and_followed_by_others(
    file: File, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(file) as plane:
        with monkeypatch.context() as patch:
            patch.setattr(plane, "_is_news", lambda found: found["nothing"])
            await plane.looks(10)
            assert [record.getMessage() for record in caplog.records] == [
                "internal error; the files are looked at again"
            ]
        file.write(text_of("new"))
        await plane.serves(text_of("new"))


async def test_whoever_asks_hears_of_a_mistake_of_ours(file: File) -> None:
    async with watching(file) as plane:
        plane.raises.append(ZeroDivisionError("ours"))
        outcome = await plane.reload()
        assert (outcome.ok, outcome.problems) == (False, ("internal error; the log says more",))
        assert (await plane.reload()).ok


async def test_a_file_that_was_away_when_it_was_asked_for_is_loaded_when_it_is_back(file: File) -> None:
    """The same as before, so nothing else would say that all is well again."""
    async with watching(file) as plane:
        await plane.looks(2)
        before = file.read()
        file.remove()
        assert not (await plane.reload()).ok
        file.write(before)
        async with asyncio.timeout(PATIENCE):
            while (last := plane.state.last_reload) is None or not last.ok:
                await plane.looks(1)


@pytest.mark.parametrize("change", [a_folder, a_pipe])
async def test_what_took_the_place_of_the_file_is_named(file: File, change: Callable[[Path], None]) -> None:
    async with watching(file) as plane:
        change(file.path)
        assert (await plane.reload()).problems == (f"{file} is no file any more",)


async def test_half_a_file_is_never_served(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "_SETTLE_SECONDS", 0.5)
    first = text_of("first") + "    match: {path: /a}\n"
    second = text_of("second").removeprefix("routes:\n")
    whole = first + second
    async with watching(file) as plane:
        with file.path.open("w") as writer:
            for piece in (first, second[:20], second[20:]):  # the first is a good file by itself
                writer.write(piece)
                writer.flush()
                await plane.looks(1)  # it is seen, and looked at again a moment later
        await plane.serves(whole)
        assert plane.taken == [whole]


async def test_a_change_while_another_one_is_loaded_is_not_lost(file: File) -> None:
    async with watching(file) as plane:
        plane.may_take.clear()
        file.write(text_of("second"))
        async with asyncio.timeout(PATIENCE):
            await plane.taking.wait()
        file.write(text_of("third"))
        plane.may_take.set()
        await plane.serves(text_of("third"))
        assert plane.taken == [text_of("second"), text_of("third")]


async def test_a_change_between_reading_and_watching_is_seen(file: File) -> None:
    async with watching(file, text_of("older")) as plane:
        await plane.serves(text_of("old"))


async def test_what_was_asked_for_is_not_loaded_again(file: File) -> None:
    async with watching(file) as plane:
        file.write(text_of("new"))
        assert (await plane.reload()).ok
        await plane.looks(10)
        assert plane.taken == [text_of("new")]


async def test_asking_loads_what_did_not_change(file: File) -> None:
    """Variables of the environment and certificates may have changed."""
    async with watching(file) as plane:
        assert (await plane.reload()).ok
        assert plane.taken == [text_of("old")]


# A file that cannot serve


async def test_a_bad_file_is_named_with_line_and_column(file: File, caplog: pytest.LogCaptureFixture) -> None:
    async with watching(file) as plane:
        before = plane.state
        file.write("routes:\n  - upstreem: http://h\n")
        problems = await plane.failed()
        await plane.looks(10)
        assert problems[0].startswith(f"{file}:2:5: ")
        assert "did you mean 'upstream'?" in problems[0]
        says = [record.getMessage() for record in caplog.records]
        assert says.count(problems[0]) == 1  # it is tried once
        assert says[-1] == f"the new configuration is not used; {before.version} goes on serving"
        assert plane.taken == []
        assert replace(plane.state, last_reload=None) == before
        file.write(text_of("good"))
        await plane.serves(text_of("good"))
        assert plane.state.last_reload is not None
        assert plane.state.last_reload.ok


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("worker 2 gave no answer"),
        PemError("ca", "bad-certificate", "'x.pem' is damaged", ""),
    ],
    ids=["a worker refuses it", "a certificate vanished meanwhile"],
)
async def test_what_cannot_be_taken_leaves_the_old_one(file: File, error: Exception) -> None:
    async with watching(file) as plane:
        plane.raises.append(error)
        file.write(text_of("new"))
        assert await plane.failed() == (str(error),)
        assert plane.text == text_of("old")
        assert plane.table.routes[0].name == "old"


async def test_a_mistake_of_ours_costs_one_change_and_no_later_one(
    file: File, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(file) as plane:
        plane.raises.append(ZeroDivisionError("ours"))
        file.write(text_of("unlucky"))
        async with asyncio.timeout(PATIENCE):
            await plane.taking.wait()
        await plane.looks(10)
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        file.write(text_of("lucky"))
        await plane.serves(text_of("lucky"))


async def test_on_the_way_out_nothing_is_loaded(file: File) -> None:
    async with watching(file) as plane:
        plane.drain()
        outcome = await plane.reload()
        assert (outcome.ok, plane.taken, plane.state.draining) == (False, [], True)
        assert not (await plane.apply(text_of("new"))).ok


# Certificates towards upstreams


def rename(old: str, new: str) -> None:
    Path(old).rename(new)


def secure(files: Files) -> str:
    tls = f"{{ca: {files.ca}, cert: {files.cert}, key: {files.key}}}"
    return (
        f"upstreams: {{legacy: {{endpoints: ['https://localhost:9000'], tls: {tls}}}}}\n"
        "routes: [{upstream: legacy, cors: off}]\n"
    )


async def test_renewed_certificates_are_loaded(file: File, tmp_path: Path) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    files = files_of(authority, tmp_path)
    file.write(secure(files))
    async with watching(file) as plane:
        await plane.looks(2)
        issue(authority, files)
        async with asyncio.timeout(PATIENCE):
            while not plane.taken:
                await plane.looks(1)
        await plane.looks(10)
        assert plane.text == secure(files)
        assert plane.state.last_reload is not None
        assert plane.state.last_reload.ok


async def test_certificates_that_come_with_a_reload_are_watched(file: File, tmp_path: Path) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    files = files_of(authority, tmp_path)
    async with watching(file) as plane:
        file.write(secure(files))
        await plane.serves(secure(files))
        await plane.looks(2)
        issue(authority, files)
        async with asyncio.timeout(PATIENCE):
            while len(plane.taken) < 2:
                await plane.looks(1)


async def test_a_certificate_that_is_gone_is_waited_for(
    file: File, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = files_of(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path)
    file.write(secure(files))
    async with watching(file) as plane:
        await plane.looks(2)
        rename(files.cert, files.cert + ".moment")
        await plane.looks(10)
        rename(files.cert + ".moment", files.cert)
        await plane.looks(10)
        assert (plane.taken, plane.state.last_reload, caplog.records) == ([], None, [])


# A text instead of the file


async def test_a_text_serves_until_the_file_changes(file: File) -> None:
    async with watching(file) as plane:
        await plane.looks(2)
        assert (await plane.apply(text_of("tried"))).ok
        await plane.looks(10)
        assert (plane.text, file.read()) == (text_of("tried"), text_of("old"))
        file.write(text_of("new"))
        await plane.serves(text_of("new"))
        assert plane.taken == [text_of("tried"), text_of("new")]


async def test_a_bad_text_is_refused_in_the_words_of_the_file(file: File) -> None:
    async with watching(file) as plane:
        outcome = await plane.apply("routes: [")
        assert not outcome.ok
        assert outcome.problems[0].startswith(f"{file}:2:1: ")
        assert plane.text == text_of("old")


async def test_two_who_ask_at_once_get_their_turns(file: File) -> None:
    async with watching(file) as plane:
        texts = [text_of(f"r{number}") for number in range(8)]
        outcomes = await asyncio.gather(*(plane.apply(text) for text in texts))
        assert all(outcome.ok for outcome in outcomes)
        assert plane.taken == texts
        assert plane.text == texts[-1]


# Where it comes from


def regular(folder: Path) -> str:
    (folder / "a.yaml").write_text("")
    return str(folder / "a.yaml")


def fifo(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return str(folder / "pipe")


SOURCES = [
    ("a file", regular, True),
    ("a file that is gone now", lambda folder: str(folder / "gone.yaml"), True),
    ("standard input", lambda _: "-", False),
    ("code", lambda _: "", False),
    ("a pipe", fifo, False),
    ("a folder", str, False),
]


@pytest.mark.parametrize(
    ("name_in", "can_change"), [row[1:] for row in SOURCES], ids=[row[0] for row in SOURCES]
)
async def test_what_can_be_read_again(
    tmp_path: Path, name_in: Callable[[Path], str], can_change: bool
) -> None:
    source = Source(name_in(tmp_path), {})
    assert source.can_change is can_change
    if not can_change:
        plane = Plane(source, load_text(text_of("only"), source))
        plane.watch_files(POLL)  # does nothing
        outcome = await plane.reload()
        assert (outcome.ok, plane.taken) == (False, [])
        assert "no file to read again" in outcome.problems[0]


async def test_a_file_that_cannot_be_read_when_asked_for_is_a_problem(file: File) -> None:
    source = Source(str(file), {})
    plane = Plane(source, load_source(source))
    file.remove()
    outcome = await plane.reload()
    assert outcome.problems == (f"cannot read the configuration file {file}: No such file or directory",)


# What needs a restart

BASE = "listen: 127.0.0.1:8080\nadmin: 127.0.0.1:8081\nworkers: 2\nlimits: {connections: 5}\n"


@dataclass(frozen=True)
class Change:
    says: str
    old: str
    new: str
    needs: tuple[str, ...] = ()


CHANGES = [
    Change("another port", "listen: 127.0.0.1:8080", "listen: 127.0.0.1:8090", ("listen",)),
    Change("another admin port", "admin: 127.0.0.1:8081", "admin: 127.0.0.1:8091", ("admin",)),
    Change("no admin listener", "admin: 127.0.0.1:8081", "admin: off", ("admin",)),
    Change(
        "a token",
        "admin: 127.0.0.1:8081",
        "admin: {address: '127.0.0.1:8081', token: sixteen-letters-secret}",
        ("admin",),
    ),
    Change("more workers", "workers: 2", "workers: 3", ("workers",)),
    Change(
        "all at once",
        BASE,
        "listen: 127.0.0.1:9\nadmin: off\nworkers: auto\n",
        ("listen", "admin", "workers"),
    ),
    Change("limits", "connections: 5", "connections: 6"),
    Change("the log", "workers: 2", "workers: 2\nlog: {level: debug, format: combined, access: false}"),
    Change("drain", "workers: 2", "workers: 2\ndrain: {delay: 5s}"),
]


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.says)
async def test_what_needs_a_restart_is_named_and_kept(
    file: File, case: Change, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file.write(text_of("same", BASE))
    async with watching(file) as plane:
        before = plane.table
        file.write(text_of("same", BASE.replace(case.old, case.new)))
        outcome = await plane.reload()
        assert (outcome.ok, outcome.needs_restart) == (True, case.needs)
        after = plane.table
        assert (after.listen, after.admin, after.workers) == (before.listen, before.admin, before.workers)
        named = [text for record in caplog.records if "until the next start" in (text := record.getMessage())]
        assert named == [f"{key} changed, and keeps its old value until the next start" for key in case.needs]


async def test_a_listener_does_not_begin_or_cease_to_speak_tls(file: File, tmp_path: Path) -> None:
    files = files_of(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path)
    tls = f"{{address: '127.0.0.1:8443', tls: {{cert: {files.cert}, key: {files.key}}}}}"
    plain, secret = "listen: 127.0.0.1:8443\n", f"listen: {tls}\n"
    for first, second in ((plain, secret), (secret, plain)):
        file.write(text_of("same", first))
        source = Source(str(file), {})
        plane = Plane(source, load_source(source))
        before = plane.table.tls
        file.write(text_of("same", second))
        assert (await plane.reload()).needs_restart == ("listen.tls",)
        assert plane.table.tls == before


# The command line goes before the file

OVERRIDES = [
    Overrides(),
    Overrides(listen=Address("::1", 1), admin=Address(path="/run/a.sock"), workers=0, log_format="pretty"),
    Overrides(admin_off=True),
]


@pytest.mark.parametrize("overrides", OVERRIDES)
def test_overrides_are_sent_to_workers_whole(overrides: Overrides) -> None:
    import json

    assert Overrides.from_json(json.loads(json.dumps(overrides.as_json()))) == overrides


async def test_overrides_hold_after_a_reload(file: File) -> None:
    overrides = Overrides(listen=Address("127.0.0.1", 1), admin_off=True, workers=4, log_format="combined")
    source = Source(str(file), {}, overrides)
    plane = Plane(source, load_source(source))
    file.write(text_of("new", BASE))
    outcome = await plane.reload()
    assert (outcome.ok, outcome.needs_restart) == (True, ())
    table = plane.table
    assert (table.listen.port, table.admin, table.workers, table.log.format) == (1, None, 4, "combined")


LOOPS = [
    ("--listen", Overrides(listen=Address("127.0.0.1", 9000)), "own `listen`"),
    ("--listen at every address", Overrides(listen=Address("0.0.0.0", 9000)), "own `listen`"),
    ("--admin", Overrides(admin=Address("127.0.0.1", 9000)), "own `admin`"),
]


@pytest.mark.parametrize(("overrides", "says"), [row[1:] for row in LOOPS], ids=[row[0] for row in LOOPS])
def test_an_upstream_that_is_where_the_command_line_listens_does_not_load(
    overrides: Overrides, says: str
) -> None:
    loaded = load_text(text_of("loop"), Source("f.yaml", {}, overrides))
    assert loaded.table is None
    assert [(problem.line, says in problem.message) for problem in loaded.problems] == [(3, True)]


def test_what_the_command_line_says_instead_of_the_file_is_no_loop() -> None:
    text = text_of("free", "listen: 127.0.0.1:9000\n")
    assert load_text(text, Source("f.yaml", {}, Overrides(listen=Address("127.0.0.1", 1)))).table is not None


@pytest.mark.parametrize("key", ["listen", "admin"])
async def test_an_upstream_where_it_still_listens_is_not_taken(file: File, key: str) -> None:
    """The file moves the listener away and another API in; the listener stays until the next start."""
    file.write(text_of("old", f"{key}: 127.0.0.1:9001\n"))
    source = Source(str(file), {})
    plane = Plane(source, load_source(source))
    file.write(text_of("new", f"{key}: 127.0.0.1:9002\n").replace(":9000", ":9001"))
    outcome = await plane.reload()
    assert not outcome.ok
    assert f"this proxy's own `{key}`" in outcome.problems[0]
    assert outcome.problems[1] == f"{key} changed, and keeps its old value until the next start"
    assert (plane.taken, plane.table.routes[0].name) == ([], "old")


def test_only_a_configuration_without_errors_serves() -> None:
    source = Source("", {})
    loaded = load_text("routes: []", source)
    assert loaded.table is None
    with pytest.raises(ValueError, match="without errors"):
        _ = loaded.served
