"""Packages as an independent validator sees them, its contexts served from disk: nothing goes over the network."""

import json
from pathlib import Path

import pytest

rocrate_validator = pytest.importorskip("rocrate_validator")

CONTEXT = (Path(__file__).parent / "ro_crate_context.json").read_text()


class Served:
    """The one answer there is."""

    def __init__(self):
        self.status_code = 200
        self.headers = {"Content-Type": "application/ld+json"}
        self.from_cache = True
        self.text = CONTEXT

    def json(self):
        return json.loads(CONTEXT)


@pytest.fixture
def validate(monkeypatch, tmp_path):
    from rocrate_validator import models, services
    from rocrate_validator.utils.http import HttpRequester

    def get(self, url, **_):
        assert url == "https://w3id.org/ro/crate/1.1/context", f"the network was asked for {url}"
        return Served()

    for verb in ("get", "head"):
        monkeypatch.setattr(HttpRequester, verb, get, raising=False)

    def run(package):
        settings = services.ValidationSettings(
            rocrate_uri=str(package), profile_identifier="workflow-run-crate-0.5", offline=True,
            requirement_severity=models.Severity.REQUIRED, cache_path=tmp_path / "cache",
        )  # fmt: skip
        return services.validate(settings)

    return run


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_a_package_is_a_workflow_run_crate(packages, validate, name):
    found = validate(packages.folder / name)
    assert found.passed(), [issue.message for issue in found.get_issues()]


def test_a_crate_without_its_workflow_is_refused(packages, validate, tmp_path):
    package = packages.copy("run", tmp_path)
    place = package / "ro-crate-metadata.json"
    body = json.loads(place.read_text())
    next(one for one in body["@graph"] if one["@id"] == "./").pop("mainEntity")
    place.write_text(json.dumps(body))
    assert not validate(package).passed()
