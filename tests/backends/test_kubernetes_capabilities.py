"""What a server can do follows from the version that it says."""

import pytest

from physlab_mcp.backends.kubernetes.capabilities import (
    FEATURES,
    Capabilities,
    capabilities_of,
    dropped_fields,
    parse_version,
)
from physlab_mcp.errors import UnavailableError


def at(minor):
    return capabilities_of({"major": "1", "minor": minor})


def has(capabilities):
    return {feature.name for feature in FEATURES if getattr(capabilities, feature.name)}


def test_the_oldest_server_has_none_of_it():
    assert has(at("20")) == set()
    assert at("20").missing() == [f"{one.name} (from 1.{one.since[1]})" for one in FEATURES]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_a_feature_is_used_from_its_version_on_and_not_before(feature):
    major, minor = feature.since
    assert getattr(capabilities_of({"major": str(major), "minor": str(minor)}), feature.name)
    assert not getattr(capabilities_of({"major": str(major), "minor": str(minor - 1)}), feature.name)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_the_version_that_is_used_stands_in_the_source_that_is_named(feature):
    assert f"{feature.since[0]}.{feature.since[1]}" in feature.source


def test_before_1_24_there_is_one_job_for_an_element_and_no_hold():
    assert not at("23").indexed
    assert not at("23").suspend
    assert at("24").indexed
    assert at("24").suspend
    assert not at("24").limit_per_index


def test_a_new_server_can_do_all_of_it():
    assert has(at("37")) == {feature.name for feature in FEATURES}
    assert at("37").missing() == []
    assert has(capabilities_of({"major": "2", "minor": "0"})) == {feature.name for feature in FEATURES}


def test_every_capability_has_its_feature():
    assert set(Capabilities.__struct_fields__) == {"version"} | {feature.name for feature in FEATURES}


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ({"major": "1", "minor": "20+"}, (1, 20)),
        ({"major": "1", "minor": "31"}, (1, 31)),
        ({"major": "1", "minor": "29-gke.100"}, (1, 29)),
        ({"major": "", "minor": "", "gitVersion": "v1.27.3+k3s1"}, (1, 27)),
        ({"gitVersion": "v1.20.2"}, (1, 20)),
    ],
)
def test_versions_are_read_as_servers_write_them(told, version):
    assert parse_version(told) == version


@pytest.mark.parametrize(
    "told", [{}, {"major": "one", "minor": "x"}, {"gitVersion": "nightly"}, {"message": "not found"}]
)
def test_a_server_that_says_no_version_is_told(told):
    with pytest.raises(UnavailableError, match="does not say its version"):
        capabilities_of(told)


def test_a_server_that_is_too_old_is_refused_with_its_version():
    with pytest.raises(UnavailableError, match=r"version 1\.19; .* needs 1\.20"):
        at("19")


def test_fields_that_a_server_dropped_are_named():
    sent = {
        "metadata": {"name": "a"},
        "spec": {
            "suspend": True,
            "backoffLimitPerIndex": 0,
            "template": {"spec": {"containers": [{"name": "a", "x": 1}]}},
        },
    }
    stored = {
        "metadata": {"name": "a", "uid": "u"},
        "spec": {"backoffLimit": 6, "template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}},
    }
    assert dropped_fields(sent, stored) == [
        "spec.suspend",
        "spec.backoffLimitPerIndex",
        "spec.template.spec.containers[0].x",
    ]


def test_what_a_server_writes_in_another_form_or_adds_is_not_dropped():
    sent = {"cpu": "1000m", "labels": {}, "volumes": [{"emptyDir": {}}], "none": None}
    assert dropped_fields(sent, {"cpu": "1", "volumes": [{"emptyDir": {}, "name": "x"}, {"name": "y"}]}) == []
    assert dropped_fields({"volumes": [1, 2]}, {"volumes": [1]}) == ["volumes"]
    assert dropped_fields({"a": {"b": 1}}, {"a": None}) == ["a"]
