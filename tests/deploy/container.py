"""An image from its archive, and a container of it as runc runs one: the same program that Docker calls.

The container gets what its image says (command, user, environment) and what an operator should add: a
read-only root, no capability, no new privileges. Its network is a loopback without a world.
"""

import json
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

PATIENCE = 30.0


@dataclass(frozen=True)
class Image:
    """An archive as `docker save` and `buildah push docker-archive:` write it."""

    archive: Path

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        manifest: list[dict[str, Any]] = json.loads(self.read("manifest.json"))
        return manifest[0]

    @cached_property
    def description(self) -> dict[str, Any]:
        """Everything that is not a file: configuration and history."""
        description: dict[str, Any] = json.loads(self.read(self._manifest["Config"]))
        return description

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.description["config"]
        return config

    def read(self, name: str) -> bytes:
        with tarfile.open(self.archive) as archive:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

    @contextmanager
    def layer(self, name: str) -> Iterator[tarfile.TarFile]:
        with tarfile.open(self.archive) as archive:
            member = archive.extractfile(name)
            assert member is not None
            with tarfile.open(fileobj=member) as layer:
                yield layer

    def layers(self) -> Iterator[tarfile.TarFile]:
        for name in self._manifest["Layers"]:
            with self.layer(name) as layer:
                yield layer

    def own_layers(self) -> Iterator[tarfile.TarFile]:
        """What the Dockerfile adds to its base: its first line of history is the label."""
        history = self.description["history"]
        (first,) = [
            number for number, step in enumerate(history) if "image.title" in step.get("created_by", "")
        ]
        of_base = sum(not step.get("empty_layer") for step in history[:first])
        for name in self._manifest["Layers"][of_base:]:
            with self.layer(name) as layer:
                yield layer

    def unpack(self, root: Path) -> None:
        """The root file system, for root alone to make: owners are kept."""
        root.mkdir()
        for layer in self.layers():
            members = []
            for member in layer:
                if (name := Path(member.name).name).startswith(".wh."):
                    _white_out(root / Path(member.name).parent, name.removeprefix(".wh."))
                else:
                    members.append(member)
            layer.extractall(root, members, filter="fully_trusted")


def _white_out(folder: Path, name: str) -> None:
    """A layer removes this, or all that is in the folder (image-spec, layer.md#whiteouts)."""
    gone = list(folder.iterdir()) if name == ".wh..opq" else [folder / name]
    for path in gone:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def bundle(folder: Path, image: Image, config: Path) -> None:
    """Write the runtime's description of the container beside the root file system, `folder/root`."""
    subprocess.run(["runc", "spec"], cwd=folder, check=True, timeout=PATIENCE)
    file = folder / "config.json"
    spec = json.loads(file.read_text())
    user, _, group = image.config["User"].partition(":")
    spec["process"].update(
        terminal=False,
        user={"uid": int(user), "gid": int(group)},
        args=[*image.config["Entrypoint"], *image.config["Cmd"]],
        env=image.config["Env"],
        cwd="/",
        capabilities={},
        noNewPrivileges=True,
    )
    spec["root"] = {"path": "root", "readonly": True}
    spec["mounts"].append(
        {"destination": "/etc/corsproxy", "type": "bind", "source": str(config), "options": ["rbind", "ro"]}
    )
    file.write_text(json.dumps(spec))


@dataclass
class Container:
    name: str
    process: "subprocess.Popen[str]"
    log: list[dict[str, Any]]

    def message(self, word: str) -> str:
        """The next line of the log that holds this word."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line))
            if word in line:
                return str(self.log[-1]["message"])
        raise AssertionError(f"the log ended without {word!r}: {self.log}")

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command inside, as `docker exec` does; what it printed."""
        done = subprocess.run(
            ["runc", "exec", self.name, *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def beside(self, *command: str) -> Iterator["subprocess.Popen[str]"]:
        """A process inside, for as long as the block lasts; its standard output is read here."""
        with subprocess.Popen(
            ["runc", "exec", self.name, *command], stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def signal(self, name: str) -> None:
        subprocess.run(["runc", "kill", self.name, name], check=True, timeout=PATIENCE)

    def ends(self) -> int:
        return self.process.wait(PATIENCE)


@contextmanager
def running(folder: Path) -> Iterator[Container]:
    """A container of the bundle in this folder; gone afterwards, whatever happened."""
    name = f"corsproxy-{uuid.uuid4().hex[:12]}"
    with subprocess.Popen(["runc", "run", name], cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Container(name, process, [])
        finally:
            subprocess.run(
                ["runc", "delete", "--force", name], capture_output=True, timeout=PATIENCE, check=False
            )
            process.wait(PATIENCE)
