"""Debian's own kernel, unpacked beside the checkout and not installed on this machine."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".vm_cache"
META_PACKAGE = "linux-image-amd64"  # depends on the newest kernel of this Debian release


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel: the image to boot, and the folder that holds lib/modules."""

    version: str
    image: Path
    tree: Path

    @property
    def modules(self) -> Path:
        return self.tree / "lib" / "modules" / self.version

    def load_order(self, *names: str) -> tuple[Path, ...]:
        """Return the files to insert, in order, for these modules and what they need."""
        files = dict[Path, None]()
        for name in names:
            listed = _run(
                *("modprobe", "-d", str(self.tree), "-S", self.version, "--show-depends", name)
            )
            for path in re.findall(r"^insmod (\S+)", listed, re.MULTILINE):
                files[Path(path)] = None
        return tuple(files)


def fetch() -> Kernel:
    """Return the kernel; download and unpack it when it is not there or is not the newest."""
    package = re.search(r"Depends: (linux-image-\S+)", _run("apt-cache", "depends", META_PACKAGE))
    if package is None:
        raise FileNotFoundError(f"apt knows no {META_PACKAGE}: run apt-get update")
    version = package[1].removeprefix("linux-image-")
    tree = CACHE / package[1]
    if not tree.exists():
        _unpack(package[1], version, tree)
    return Kernel(version, tree / "boot" / f"vmlinuz-{version}", tree)


def _unpack(package: str, version: str, tree: Path) -> None:
    part = CACHE / f"part-{os.getpid()}"
    part.mkdir(parents=True)
    _run("apt-get", "download", package, cwd=part)
    (archive,) = part.glob("*.deb")
    _run("dpkg-deb", "--extract", str(archive), str(part))
    archive.unlink()
    _run("depmod", "--basedir", str(part), version)
    part.rename(tree)


def _run(*command: str, cwd: Path | None = None) -> str:
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
