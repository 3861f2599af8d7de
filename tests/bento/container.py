"""A container without a container engine, by Debian's bubblewrap.

It is the image that a bento's Dockerfile describes, less the layer of packages, on a read-only file system of its own, which
has nothing of the project but what is copied in.
"""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import psutil

from tests.bento.building import DOCKERFILE, environment_of, last_stage, read_dockerfile
from tools.servers import Server

USER = 1034
VENV = "/app/.venv"


def assemble(bento: Path, image: Path) -> None:
    """Carry out the Dockerfile's COPY in its last stage, into ``image`` as the root, with the owners that it says."""
    here = ""
    for each in last_stage(read_dockerfile((bento / DOCKERFILE).read_text())):
        if each.name == "WORKDIR":
            here = each.words
        if each.name == "COPY" and "--from=" not in each.words:
            option, *sources, target = shlex.split(each.words)
            assert option == f"--chown={USER}:{USER}"
            for source in sources:
                _copy(bento / source, image / here.lstrip("/") / target, whole=target.endswith("/"))


def _copy(source: Path, target: Path, *, whole: bool) -> None:
    """What COPY does: a folder's content, a file under a name or into a folder that ends in a slash."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        target = target / source.name if whole else target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for path in (target, *target.rglob("*")):
        if os.getuid() == 0:
            os.chown(path, USER, USER)


class Container(Server):
    """A container of the bento that listens on 127.0.0.1; ``settings`` go over those of the image.

    ``arguments`` are those of the entry point. ``packages`` is the virtual environment that stands for the image's. Only
    ``volumes``, folders of the image, can be written to; they lie below ``folder``, but for /tmp and /dev/shm.
    """

    def __init__(
        self,
        bento: Path,
        folder: Path,
        packages: Path,
        /,
        volumes: list[str],
        arguments: tuple[str, ...] = (),
        **settings: str,
    ) -> None:
        self._bento, self._packages, self._volumes, self._arguments = bento, packages.resolve(), volumes, arguments
        self._home, self._settings = folder, settings
        assemble(bento, folder / "image")
        super().__init__(folder)

    def command(self, target: str) -> list[str]:
        """The entry point of the image, within what bubblewrap closes off."""
        del target
        instructions = last_stage(read_dockerfile((self._bento / DOCKERFILE).read_text()))
        (entry,) = (json.loads(each.words) for each in instructions if each.name == "ENTRYPOINT")
        (place,) = (each.words for each in instructions if each.name == "WORKDIR")
        image = environment_of(instructions)
        image["PATH"] = image["PATH"].replace("${PATH}", os.defpath)
        serving = {"HOME": "/home/bentoml", "BENTOML_HOST": "127.0.0.1", "PORT": str(self.port)}
        variables = image | serving | {f"CROSSMODAL_{name}": value for name, value in self._settings.items()}
        return [
            "bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1",
            *self._system(), *self._written(), *self._installed(), "--remount-ro", "/",
            "--clearenv", *(word for name, value in variables.items() for word in ("--setenv", name, value)),
            "--chdir", f"{place}/src" if self._arguments else place,
            *_as_the_image_does(), *entry, *self._arguments,
        ]  # fmt: skip

    def _system(self) -> list[str]:
        """What is read: the system, Python, and what was copied into the image."""
        words = ["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc", "--proc", "/proc", "--dev", "/dev"]
        for name in ("bin", "sbin", "lib", "lib64"):
            if Path("/", name).is_symlink():
                words += ["--symlink", f"usr/{name}", f"/{name}"]
            elif Path("/", name).exists():
                words += ["--ro-bind", f"/{name}", f"/{name}"]
        if not sys.base_prefix.startswith("/usr"):
            words += [*_above(sys.base_prefix), "--ro-bind", sys.base_prefix, sys.base_prefix]
        return [*words, "--ro-bind", str(self._home / "image/home"), "/home"]

    def _installed(self) -> list[str]:
        """The packages, after what can be written to: they may lie below /tmp themselves."""
        words = []
        for place in (VENV, str(self._packages)):  # its scripts name the place where it was made
            words += [*_above(place), "--ro-bind", str(self._packages), place]
        return words

    def _written(self) -> list[str]:
        words = []
        for volume in self._volumes:
            if volume in {"/tmp", "/dev/shm"}:  # noqa: S108 -- paths in the container
                words += ["--perms", "1777", "--tmpfs", volume]
                continue
            folder = self._home / "volumes" / volume.strip("/").replace("/", "-")
            folder.mkdir(parents=True, exist_ok=True)
            if os.getuid() == 0:
                os.chown(folder, USER, USER)
            words += [*_above(volume), "--bind", str(folder), volume]
        return words

    @property
    def inside(self) -> psutil.Process:
        """The process that the entry point became."""
        (child,) = psutil.Process(self.process.pid).children()
        return child


def _above(path: str) -> list[str]:
    """Folders above a mount, which bubblewrap would make for its own user alone."""
    folders = [str(folder) for folder in reversed(Path(path).parents) if str(folder) != "/"]
    return [word for folder in folders for word in ("--perms", "0755", "--dir", folder)]


def _as_the_image_does() -> list[str]:
    """Become the user of the image, with no capability and no way to get one."""
    if os.getuid() != 0:
        return ["--unshare-user", "--uid", str(USER), "--gid", str(USER), "--"]
    capabilities = [word for each in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{each}")]
    user = ["--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--no-new-privs"]
    return [*capabilities, "--", "setpriv", *user, "--inh-caps=-all", "--bounding-set=-all", "--"]
