"""Which processors take in the packets of a network device (receive packet steering).

A program that writes a packet to a TUN device waits while the kernel takes the packet in:
rules, connection tracking, TCP. With one thread that writes in order, as wireguard-go's for
each peer, that is the slowest stage of the whole. Steering hands the packet to a processor
chosen by its flow, and the writer goes on at once; a flow's packets stay in order.
Source: Documentation/networking/scaling.rst of the kernel.
"""

from __future__ import annotations

import errno
from pathlib import Path

INTERFACES = Path("/sys/class/net")
_WORD = 32  # processors in one group of the kernel's bitmap


def spread_receiving(device: str, processors: int, interfaces: Path = INTERFACES) -> bool:
    """Let all processors take in what arrives on a device; say whether there was more than one.

    Raise `OSError` when there is no queue, or one cannot be written.
    """
    if processors < 2:  # noqa: PLR2004  # nobody to hand it to
        return False
    queues = sorted((interfaces / device / "queues").glob("rx-*"))
    if not queues:
        raise FileNotFoundError(errno.ENOENT, f"{interfaces} shows no receive queue of {device}")
    for queue in queues:
        (queue / "rps_cpus").write_text(bitmap(processors) + "\n", "ascii")
    return True


def bitmap(processors: int) -> str:
    """Return the kernel's text for processors 0 to `processors` - 1: "f", "1,ffffffff"."""
    full, rest = divmod(processors, _WORD)
    groups = [f"{(1 << rest) - 1:x}"] if rest else []
    return ",".join((*groups, *["f" * (_WORD // 4)] * full))
