"""`python -m physlab_mcp`: the `physlab` command; the engine's start stays clear of everything a person needs."""

import sys

if __name__ == "__main__":
    if sys.argv[1:3] == ["engine", "run"] and sys.argv[3:4] == ["--data-dir"] and len(sys.argv) == 5:
        from physlab_mcp.lab import run_engine

        sys.stderr.write(run_engine(sys.argv[4]) + "\n")
        sys.exit(0)
    from physlab_mcp.cli import main

    sys.exit(main())
