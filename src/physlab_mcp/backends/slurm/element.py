"""Runs one element of a batch on a compute node: `python3 -I -S element.py BATCH_FOLDER`; see element_run.py.

Standard library only, Python 3.8 or newer. A program's own file is compiled at every start, what it imports only once.
"""

# pathlib costs start time of every element.
# ruff: noqa: PTH120
import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.realpath(__file__)))
    import element_run  # pyright: ignore[reportMissingImports] - it lies beside this file there

    code = element_run.main(sys.argv[1])
    sys.stderr.flush()
    os._exit(code)  # what Python would put in order now nobody needs
