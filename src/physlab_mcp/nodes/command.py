"""The parameters of a `command` node: a program or a script run by the local backend's own runner."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, model_validator

from physlab_mcp.nodes.registry import NodeParams, node_type
from physlab_mcp.schemas.result import NodeResult


class InputFile(NodeParams):
    """One file put into the working folder before the command starts."""

    source: str = Field(min_length=1, description="a path or `sha256:<hex>`")
    target: str = Field(min_length=1, description="path inside the working folder")


class CommandParams(NodeParams):
    """Exactly one of `command` and `script`."""

    # Sweep values stand in argument lists and environments, where a number is written as its text.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    command: list[str] = Field(default_factory=list, max_length=10_000, description="program and arguments, no shell")
    script: str | None = Field(default=None, max_length=1_000_000, description="text of a script, with a #! line")
    artifacts: list[str] = Field(default_factory=list, max_length=1000, description="globs of files to keep")
    artifacts_path: str = Field(default="artifacts/", description="folder whose files are always kept")
    env: dict[str, str] = Field(default_factory=dict, description="variables added to the environment")
    workdir: str | None = Field(default=None, description="folder to run in; default a fresh one")
    inputs: list[InputFile] = Field(default_factory=list[InputFile], max_length=10_000)
    timeout_s: float | None = Field(default=None, gt=0, description="running time after which it is stopped")
    pure: bool = Field(default=False, description="same inputs, same outputs, no side effects: may be run again")
    idempotent: bool = Field(default=False, description="running it twice does no harm")

    @model_validator(mode="after")
    def _one_program(self) -> CommandParams:
        if bool(self.command) == (self.script is not None):
            raise ValueError("give exactly one of command (a list) and script (a text)")
        return self


@node_type(
    "command",
    params=CommandParams,
    summary="Run a program or a script and keep the files it writes.",
    outputs={"*": "what the command reports in its values file, and exit_code"},
    pure=False,
    example={"command": ["python", "-c", "print('hello')"], "artifacts": ["*.csv"]},
)
def run_command(_params: Any, _io: Any) -> NodeResult:
    """Never called: commands become jobs of kind `command`."""
    raise RuntimeError("commands run through the local backend's runner")
