"""Run expressions through the parser and the nodes under limits of memory and time; prints what became of each.

Started as a program by test_cas_hostile.py: `cas_trial.py FOLDER < list of texts as JSON`.
"""

import json
import resource
import signal
import sys
import time
from functools import partial

MEMORY_BYTES = 1 << 30
DEADLINE_S = 1.5  # half of the computing time that the nodes have
SEARCH_DEADLINE_S = 0.25  # of what may be cut off anyway: long enough to fill the memory, were nothing to bound it


class OverdueError(BaseException):
    """The deadline has passed."""


def overdue(_signal, _frame):
    raise OverdueError


def attempt(action, deadline_s):
    """What became of an action, and how long it took."""
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, deadline_s)
    try:
        action()
        found = "done"
    except OverdueError:
        found = "overdue"
    except MemoryError:
        found = "memory"
    except Exception as error:
        found = getattr(error, "code", f"{type(error).__name__}: {error}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
    return [found, round(time.process_time() - begun, 3)]


def main():
    from node_runs import Bench

    bench = Bench(sys.argv[1])
    bench.run("cas.solve_equation", equation="cos(x) = x", emit_plots=False)  # imports are not part of the deadlines
    signal.signal(signal.SIGPROF, overdue)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    report = {}
    for text in json.load(sys.stdin):
        calls = {
            "evaluate": ("cas.evaluate", {"expr": text}),
            "at a point": ("cas.evaluate", {"expr": text, "vars": {"x": 7.5, "y": 3}}),
            "diff": ("cas.diff", {"expr": text, "symbol": "x"}),
            "simplify": ("cas.simplify", {"expr": text}),
            "solve": ("cas.solve_equation", {"equation": text, "symbol": "x"}),
            "integrate": ("cas.integrate", {"expr": text, "symbol": "x", "bounds": [0, 1]}),
        }
        report[text] = {
            name: attempt(
                partial(bench.run, node, **params),
                SEARCH_DEADLINE_S if name in {"simplify", "solve", "integrate"} else DEADLINE_S,
            )
            for name, (node, params) in calls.items()
        }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
