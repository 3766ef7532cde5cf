"""From a `job_submit` call to the Job that the engine stores: paths confined, amounts read, node parameters settled."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from physlab_mcp.backends.job_inputs import check_shape
from physlab_mcp.dags.resources import resources_of
from physlab_mcp.errors import PhyslabError, RejectedError, RequestError
from physlab_mcp.paths import confine
from physlab_mcp.schemas.calls_collaboration import JobSubmit, JobWork, NodeCallSpec
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import AUTO, HERE, Job, JobSpec, Mount, NodeCall
from physlab_mcp.tools.finding_view import defects
from physlab_mcp.tools.reply import Bench, Caller

if TYPE_CHECKING:
    from physlab_mcp.schemas.calls_orchestrator import RunDag
    from physlab_mcp.schemas.dag import Dag

_PATH_PARAMS = frozenset({"workdir", "inputs"})


def job_from(call: JobSubmit, caller: Caller, bench: Bench) -> tuple[Job, list[str]]:
    """The job and warnings about it.

    Raises:
        RequestError: a value cannot be used; `field` names it.
        ForbiddenError: a path lies outside of the allowed roots.
        RejectedError: commands from agents are switched off here.

    """
    if call.backend not in (AUTO, *bench.policies):
        raise RequestError(
            f"The backend {call.backend!r} is not configured here.", field="backend", got=call.backend,
            remedy=f"Use one of auto, {', '.join(bench.policies)}, or add backends.{call.backend} to server.config.json.",
            example=JobSubmit.example,
        )  # fmt: skip
    spec, warnings = _spec(call, bench)
    if spec.node is None:
        check_commands(bench, call.backend)
    job = Job(
        id=new_handle("job"),
        kind="node" if spec.node is not None else "command",
        owner=caller.principal,
        session_id=caller.session_id,
        spec=spec,
        backend=call.backend,
        priority=call.priority,
        created_at=time.time(),
        idempotency_key=call.idempotency_key,
    )
    return job, warnings


def check_commands(bench: Bench, backend: str = HERE) -> None:
    """Whether commands that come from an agent may run on a backend at all; on one of several, where it is to be chosen.

    Raises:
        RejectedError: the configuration says `deny`.

    """
    policies = bench.policies if backend == AUTO else {backend: bench.policies.get(backend, "allow")}
    if all(policy == "deny" for policy in policies.values()):
        raise RejectedError(
            f"Commands and scripts from agents are switched off on {' and '.join(policies)}.",
            field="job_spec",
            remedy=f"Use node types (see catalog), or set backends.{next(iter(policies))}.commands to approve or allow.",
            example={"tool": "constants_get", "params": {"name": "R_inf"}},
        )


def check_command_nodes(dag: Dag, call: RunDag, swept: Sequence[str], bench: Bench) -> None:
    """Whether the command nodes of a DAG that an agent runs may run here, with paths under the allowed roots only.

    `swept` are the names that a sweep fills in.

    Raises:
        RejectedError: commands are switched off.
        ForbiddenError: a path lies outside of the allowed roots.
        RequestError: a sweep or a reference would choose a path.

    """
    for node in dag.nodes:
        if node.type != "command":
            continue
        check_commands(bench, node.backend)
        for where, params in (("spec", node.command_spec), ("params", call.params.get(node.id, {}))):
            _confine_params(params, f"{where}.{node.id}", bench)
        for name in swept:
            if name.rpartition(".")[2] in _PATH_PARAMS:
                raise _chosen(f"sweep.space.{name}", name)


def _confine_params(params: Mapping[str, Any], field: str, bench: Bench) -> None:
    workdir = params.get("workdir")
    if workdir is not None:
        _confined(workdir, f"{field}.workdir", bench)
    inputs = params.get("inputs")
    for i, one in enumerate(inputs if isinstance(inputs, list) else []):
        source = one.get("source") if isinstance(one, dict) else one
        if not (isinstance(source, dict) and "$from" in source):
            _confined(source, f"{field}.inputs.{i}.source", bench)


def _confined(path: Any, field: str, bench: Bench) -> None:
    if not isinstance(path, str):
        raise _chosen(field, path)
    if not path.startswith("sha256:"):
        confine(path, bench.roots, field=field)


def _chosen(field: str, got: Any) -> RequestError:
    return RequestError(
        f"{field} cannot be filled in later: it names a path.",
        field=field,
        got=got,
        remedy="Write the path itself, or sweep an argument of the command.",
        example="results/",
    )


def _spec(call: JobSubmit, bench: Bench) -> tuple[JobSpec, list[str]]:
    from physlab_mcp.dags.caps import compute_limit_s

    work = call.job_spec
    try:
        resources = resources_of(work.resources)
    except PhyslabError as error:
        error.field = f"job_spec.{error.field}"
        raise
    limit = call.timeout_sec if call.timeout_sec is not None else resources.time_limit_s
    common: dict[str, Any] = {
        "title": call.name or _title(work),
        "image": work.image,
        "resources": resources,
        "timeout_s": limit,
        "retries": call.retries,
    }
    if work.node is not None:
        node, warnings, pure = _node(work, work.node, call.backend, bench)
        spec = JobSpec(
            node=node,
            device=node.device,
            wanted_device="" if work.device in ("auto", node.device) else work.device,
            require_device=work.require_device,
            pure=pure,
            compute_s=compute_limit_s(bench.registry.get(node.type), node.params),
            **common,
        )
        return spec, warnings
    _globs(call.artifacts, "artifacts")
    warnings = _device(work) if call.backend in (AUTO, HERE) else []
    spec = JobSpec(
        command=tuple(work.command) if work.command else None,
        script=work.script,
        device=work.device,
        require_device=work.require_device,
        env=dict(work.env),
        mounts=tuple(
            Mount(str(confine(m.source, bench.roots, field=f"job_spec.mounts.{i}.source")), m.target, m.readonly)
            for i, m in enumerate(work.mounts)
        ),
        workdir=_workdir(work, bench),
        inputs=tuple(_input(i, one.source, one.target, bench) for i, one in enumerate(work.inputs)),
        artifacts_path=_inside(call.artifacts_path, "artifacts_path"),
        artifacts=tuple(call.artifacts),
        idempotent=work.idempotent,
        checkpoint_signal=work.checkpoint_signal or "",
        sandbox=True,
        stream_logs=call.stream_logs,
        **common,
    )
    check_shape(spec)
    return spec, warnings


def _device(work: JobWork) -> list[str]:
    """Warnings about the device a command asks for; commands choose it themselves, so only its presence is checked."""
    from physlab_mcp.nodes.device import detect_devices

    if work.device in ("auto", *detect_devices()):
        return []
    told = f"This machine has no {work.device!r}; it has {', '.join(detect_devices())}."
    if work.require_device:
        raise RejectedError(
            told,
            field="job_spec.require_device",
            got=work.device,
            remedy="Leave require_device out, or run it where the device is.",
            example={"command": ["python3", "-c", "print(1)"], "device": "auto"},
        )
    return [f"{told} The command runs on the CPU."]


def _node(work: JobWork, wanted: NodeCallSpec, backend: str, bench: Bench) -> tuple[NodeCall, list[str], bool]:
    from physlab_mcp.artifacts.cache_key import static_key
    from physlab_mcp.dags.check import Limits
    from physlab_mcp.dags.validate import validate
    from physlab_mcp.nodes.data_files import file_params, pinned

    if wanted.tool == "command":
        raise RequestError(
            "A command is not a node here.",
            field="job_spec.node.tool",
            got="command",
            remedy="Give job_spec.command or job_spec.script.",
            example={"command": ["python3", "-c", "print(1)"]},
        )
    written = {
        "id": "node", **wanted.model_dump(), "device": work.device, "require_device": work.require_device,
        "backend": backend, "resources": work.resources.model_dump(),
    }  # fmt: skip
    checked = validate({"nodes": [written]}, bench.registry, limits=Limits(backends=tuple(bench.policies)))
    if checked.dag is None:
        raise defects(checked.errors, "job_spec.node")
    node = checked.dag.nodes[0]
    node_type = bench.registry.get(node.type)
    warnings = [one.message for one in checked.warnings if one.code != "visual_default"]
    params = node.params | pinned(
        node.params,
        file_params(node_type),
        roots=bench.roots,
        hidden=[bench.blobs.root.parent],
        blobs=bench.blobs,
        where="job_spec.node.params",
    )
    call = NodeCall(
        type=node.type,
        params=params,
        static_key=static_key(node_type, params, node.device),
        device=node.device,
    )
    return call, warnings, node.pure


def _workdir(work: JobWork, bench: Bench) -> str | None:
    if work.workdir is None:
        return None
    return str(confine(work.workdir, bench.roots, field="job_spec.workdir"))


def _input(number: int, source: str, target: str, bench: Bench) -> dict[str, str]:
    field = f"job_spec.inputs.{number}"
    target = _inside(target, f"{field}.target")
    if source.startswith("sha256:"):
        bench.blobs.path(source)
        return {"source": source, "target": target}
    return {"source": str(confine(source, bench.roots, field=f"{field}.source")), "target": target}


def _globs(patterns: list[str], field: str) -> None:
    for i, pattern in enumerate(patterns):
        _inside(pattern, f"{field}.{i}")


def _inside(path: str, field: str) -> str:
    """A relative path that stays inside the working folder."""
    parts = path.replace("\\", "/").split("/")
    if path.startswith(("/", "~")) or ".." in parts or "\0" in path or not path:
        raise RequestError(
            f"{field} = {path!r} does not stay inside the working folder.",
            field=field,
            got=path,
            remedy="Give a relative path without '..'.",
            example="results/",
        )
    return path


def _title(work: JobWork) -> str:
    if work.node is not None:
        return f"{work.node.tool}.{work.node.method}" if work.node.method else work.node.tool
    if work.command:
        return " ".join(work.command)[:80]
    return (work.script or "").strip().split("\n")[-1][:80]
