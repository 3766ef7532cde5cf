"""The reproducibility package of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.errors import ConflictError
from physlab_mcp.library.given import refused, text_of, workflow_of
from physlab_mcp.library.progress import say
from physlab_mcp.library.submission import OWNER

if TYPE_CHECKING:
    from physlab_mcp.bundles.shapes import Made
    from physlab_mcp.bundles.wishes import Wishes
    from physlab_mcp.lab import Lab
    from physlab_mcp.library.results import Results
    from physlab_mcp.library.workflow import ExperimentalWorkflow


class Package:
    """A package that can be written; see docs/packages.md for what is in it. `made` tells of it once it was."""

    def __init__(self, results: Results, name: str, wishes: Wishes) -> None:
        self.name = name
        self.made: Made | None = None
        self._results = results
        self._wishes = wishes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is known to be missing in it, or to mean nothing; empty before it was written."""
        return self.made.warnings if self.made is not None else ()

    def export(self, folder: str | Path) -> Path:
        """Write it to a new folder of its name in `folder`; where it is. What it lacks is told, and is in `warnings`.

        Raises:
            ConflictError: it is there already.
            UnavailableError: an artifact is gone, or a package that this needs is not installed.

        """
        from physlab_mcp.bundles.make import make_package

        target = Path(folder).expanduser().absolute() / self.name

        async def work(lab: Lab) -> Made:
            return await make_package(
                lab.engine, lab.registry, lab.blobs, self._results.id, target, owner=OWNER, wishes=self._wishes
            )

        self.made = self._results._engine._bridge.call(work)
        for warning in self.made.warnings:
            say(f"Warning: {warning}")
        return Path(self.made.path)


def create_reproducibility_package(
    workflow: ExperimentalWorkflow, results: Results, package_name: str | None = None, **options: Any
) -> Package:
    """A package of results that are complete, with the figures that the workflow added; `export` writes it.

    `options`: `tolerances` (1e-6, "task.key=1e-6", a list of these, or {"task.key": 1e-6}), `ignore`, `pixels`,
    `wheelhouse`, `everything`, `license`, `name`, as `physlab bundle create` has them. Without a name it is that of the
    workflow, with dashes for what no file name may have.

    Raises:
        RequestError: an option is unknown or not of its kind, or the name cannot be that of a package.
        ConflictError: the sweep has not ended.

    """
    from physlab_mcp.bundles.wishes import check_name, slug, wishes_of

    workflow_of(workflow)
    wishes = wishes_of(options)
    if package_name is not None:
        if wishes.name not in (None, package_name):
            raise refused("It is given two names.", "name", wishes.name, "Give package_name alone.")
        check_name(text_of(package_name, "package_name"))
    state = results.state
    if state not in ("succeeded", "failed", "cancelled", "skipped"):
        raise ConflictError(
            f"{results.id} is still {state}; a package is made of what has ended.", got=results.id,
            remedy="Wait for its end, or cancel it.",
        )  # fmt: skip
    name = package_name or wishes.name or slug(workflow.name) or f"package-{results.id}"
    return Package(
        results,
        name,
        msgspec.structs.replace(
            wishes, name=name, visualizations=workflow.visualizations or None, folders=(Path.cwd(),)
        ),
    )
