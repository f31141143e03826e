"""Programs that run inside the kernel's packet path, and nothing else.

Who lives here: one C file per program, `kernel.h` with what they need of the
kernel's interface, their compiled objects, and `compile`, which makes the objects
again. `gatepost.linux.bpf_object` reads an object, `gatepost.linux.bpf` loads
it, `gatepost.linux.tc` puts a program on a device. The objects are checked in,
so that a box needs no compiler; a test compiles and compares them.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from gatepost.errors import NotFoundError

SUFFIX = ".o"


@cache
def read_object(name: str) -> bytes:
    """Return the compiled object called `name`, an ELF file; raise `NotFoundError`."""
    try:
        return files(__name__).joinpath(name + SUFFIX).read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no BPF object called {name}") from error
