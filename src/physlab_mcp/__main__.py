"""`python -m physlab_mcp`: the `physlab` command; the engine's start stays clear of everything a person needs."""

import sys


def _engine() -> int:
    from pathlib import Path

    from physlab_mcp.lab import run_engine

    options: dict[str, list[Path]] = {"--data-dir": [], "--config": [], "--root": []}
    words = iter(sys.argv[3:])
    for name in words:
        options[name].append(Path(next(words)))
    last = {name: places[-1] if places else None for name, places in options.items()}
    reason = run_engine(last["--data-dir"], config_file=last["--config"], roots=options["--root"])
    sys.stderr.write(f"engine: {reason}\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1:3] == ["engine", "run"] and {"-h", "--help"}.isdisjoint(sys.argv):
        sys.exit(_engine())
    from physlab_mcp.cli import main

    sys.exit(main())
