"""A call that was made by another version is refused by whoever would run it, image or interpreter."""

import json

import pytest

import physlab_mcp
from physlab_mcp.nodes.cold_call import run_folder
from physlab_mcp.nodes.worker import Calls

CALL = {"id": "job-1", "fence": 3, "attempt": 1, "type": "flow.passthrough", "module": "physlab_mcp.nodes.flow",
        "params": {"value": 5}}  # fmt: skip


@pytest.mark.parametrize(
    ("made_by", "outcome"), [("9.9.9", "failed"), (physlab_mcp.__version__, "succeeded"), (None, "succeeded")]
)
def test_a_call_of_another_version_is_refused_with_both(tmp_path, made_by, outcome):
    (tmp_path / "spec.json").write_text(json.dumps({**CALL, **({"physlab": made_by} if made_by else {})}))
    assert run_folder(tmp_path, Calls) == int(outcome == "failed")
    told = json.loads((tmp_path / "attempts" / "1" / "result.json").read_text())
    assert (told["outcome"], told["fence"]) == (outcome, 3)
    if outcome == "failed":
        assert (told["failure"]["code"], told["failure"]["retryable"]) == ("rejected", False)
        assert "9.9.9" in told["failure"]["message"]
        assert physlab_mcp.__version__ in told["failure"]["message"]
