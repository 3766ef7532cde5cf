"""`python -m benchmarks [NAME …]`: all of them write docs/benchmarks.md and results.json, some only print."""

from __future__ import annotations

import argparse
import sys

from benchmarks.measure import Options
from benchmarks.run import BENCHMARKS, run, write


def main() -> int:
    """Measure; 1 where a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--rounds", type=int, default=5, help="measured runs each, after one to warm up")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    parser.add_argument("--no-peers", action="store_true", help="without Dask, Parsl and DBOS")
    parser.add_argument("--write", action="store_true", help="write the files although not everything was measured")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    options = Options(rounds=given.rounds, quick=given.quick, peers=not given.no_peers)
    results = run(given.names or list(BENCHMARKS), options)
    if given.write or (not given.names and not given.quick and options.peers):
        write(results)
    missed = [row.what for one in results for row in one.rows if row.met is False]
    print(f"{len(missed)} targets missed" + "".join(f"\n  {what}" for what in missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
