from __future__ import annotations

from physlab_mcp.artifacts.lineage import Lineage, ancestors, artifacts_in, lineage_of
from physlab_mcp.schemas.artifact import ArtifactRef, Figure
from physlab_mcp.schemas.result import NodeResult


def ref(letter: str) -> ArtifactRef:
    return ArtifactRef(letter * 64, f"{letter}.bin", "application/octet-stream", 1)


def test_every_artifact_of_a_result_has_one_record_with_its_parents() -> None:
    result = NodeResult(arrays={"psi": ref("a")}, figures=(Figure("f", png=ref("b")),), artifacts=(ref("a"),))
    params = {"x": [{"$artifact": {"sha256": "d" * 64}}], "y": {"z": {"$artifact": {"sha256": "c" * 64}}}, "n": 1}
    records = lineage_of(
        result,
        job_id="job-1",
        node_type="toy.draw",
        params=params,
        code_version="1:x:",
        device="cuda",
        environment="env-1",
    )
    assert [one.sha256[0] for one in records] == ["a", "b"]
    for one in records:
        assert one.parents == ("c" * 64, "d" * 64)
        assert (one.job_id, one.node_type, one.device, one.environment) == ("job-1", "toy.draw", "cuda", "env-1")
        assert len(one.params_hash) == 64


def test_artifacts_are_found_however_deep() -> None:
    deep: object = {"$artifact": {"sha256": "e" * 64}}
    for _ in range(5000):
        deep = [deep]
    assert artifacts_in(deep) == {"e" * 64}


def test_ancestors_come_nearest_first_and_once_even_in_a_cycle() -> None:
    def record(name: str, *parents: str) -> Lineage:
        return Lineage(name, name, "job-1", "toy.x", parents)

    records = [record("d", "b", "c"), record("b", "a"), record("c", "a"), record("a", "d"), record("other")]
    assert [one.sha256 for one in ancestors("d", records)] == ["d", "b", "c", "a"]
