"""Run all benchmarks, or those whose names are given, one after another; print a table.

A benchmark is a program `bench_*.py` in this folder whose last line on
standard output is a JSON list of figures.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec
from tests.bench.figures import Figure

HERE = Path(__file__).parent
TIMEOUT = 900.0  # seconds for one benchmark


def main() -> int:
    wanted = sys.argv[1:]
    programs = [
        path
        for path in sorted(HERE.glob("bench_*.py"))
        if not wanted or any(word in path.stem for word in wanted)
    ]
    if not programs:
        print(f"no benchmark is called {' or '.join(wanted)}", file=sys.stderr)
        return 2
    return max(_run(path) for path in programs)


def _run(path: Path) -> int:
    began = time.monotonic()
    try:
        done = subprocess.run(
            (sys.executable, "-m", f"tests.bench.{path.stem}"),
            cwd=HERE.parent.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        print(f"{path.stem} did not end within {TIMEOUT:g} s")
        return 1
    lines = done.stdout.splitlines() or [""]
    try:
        figures = msgspec.json.decode(lines[-1], type=list[Figure])
    except msgspec.DecodeError:
        print(f"{path.stem} ended with {done.returncode} and no figures:\n{done.stdout}")
        return 1
    print(f"{path.stem} ({time.monotonic() - began:.0f} s)")
    for figure in figures:
        print(f"  {figure.line()}", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
