"""`python -m physlab_mcp`: the `physlab` command; the engine's start stays clear of everything a person needs."""

import sys


def _engine() -> int:
    import logging
    import os
    import time
    from pathlib import Path

    from physlab_mcp.errors import PhyslabError
    from physlab_mcp.lab import run_engine

    options: dict[str, list[Path]] = {"--data-dir": [], "--config": [], "--root": []}
    words = iter(sys.argv[3:])
    for name in words:
        options[name].append(Path(next(words)))
    last = {name: places[-1] if places else None for name, places in options.items()}
    begun = time.monotonic()
    try:
        reason = run_engine(last["--data-dir"], config_file=last["--config"], roots=options["--root"])
    except PhyslabError as error:
        sys.stderr.write(f"engine: {error}\n")
        return 1
    except Exception:
        # A defect of ours must not leave a week-long run alone: begin again, as after any other death.
        logging.getLogger(__name__).exception("the engine failed; it starts again")
        held = time.monotonic() - begun > 60
        starts = 0 if held else int(os.environ.get("PHYSLAB_ENGINE_STARTS", "0"))
        time.sleep(min(60.0, 2.0**starts))
        os.environ["PHYSLAB_ENGINE_STARTS"] = str(starts + 1)
        os.execv(sys.executable, [sys.executable, "-m", "physlab_mcp", *sys.argv[1:]])  # noqa: S606
    sys.stderr.write(f"engine: {reason}\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1:3] == ["engine", "run"] and {"-h", "--help"}.isdisjoint(sys.argv):
        sys.exit(_engine())
    from physlab_mcp.cli import main

    sys.exit(main())
