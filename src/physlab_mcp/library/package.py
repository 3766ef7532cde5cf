"""The reproducibility package of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physlab_mcp.errors import ConflictError
from physlab_mcp.library.submission import OWNER

if TYPE_CHECKING:
    from physlab_mcp.lab import Lab
    from physlab_mcp.library.results import Results
    from physlab_mcp.library.workflow import ExperimentalWorkflow


class Package:
    """A package that can be written; see docs/packages.md for what is in it."""

    def __init__(self, results: Results, name: str, figures: Mapping[str, bytes], options: Mapping[str, Any]) -> None:
        self.name = name
        self._results = results
        self._figures = figures
        self._options = dict(options)

    def export(self, folder: str | Path) -> Path:
        """Write it to a new folder of its name in `folder`; where it is.

        Raises:
            ConflictError: it is there already.
            UnavailableError: an artifact is gone, or a package that this needs is not installed.

        """
        from physlab_mcp.bundles.make import Wishes, make_package

        target = Path(folder).expanduser().absolute() / self.name
        target.parent.mkdir(parents=True, exist_ok=True)
        wishes = Wishes(name=self.name, figures=self._figures, folders=(Path.cwd(),), **self._options)

        async def work(lab: Lab) -> Path:
            made = await make_package(
                lab.engine, lab.registry, lab.blobs, self._results.id, target, owner=OWNER, wishes=wishes
            )
            return Path(made.path)

        return self._results._engine._bridge.call(work)


def create_reproducibility_package(
    workflow: ExperimentalWorkflow, results: Results, package_name: str | None = None, **options: Any
) -> Package:
    """A package of results that are complete, with the figures that the workflow added; `export` writes it.

    `options`: `wheelhouse`, `tolerances`, `license` as bundles.make.Wishes has them.

    Raises:
        ConflictError: the sweep has not ended.

    """
    state = results.state
    if state not in ("succeeded", "failed", "cancelled", "skipped"):
        raise ConflictError(
            f"{results.id} is still {state}; a package is made of what has ended.", got=results.id,
            remedy="Wait for its end, or cancel it.",
        )  # fmt: skip
    figures = {f"{name}.svg": _svg(results, name) for name in workflow.visualizations}
    return Package(results, package_name or workflow.name, figures, options)


def _svg(results: Results, name: str) -> bytes:
    from physlab_mcp.analysis.figures.chart import render

    return render(results.plot(name).chart, "svg")
