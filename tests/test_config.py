"""The configuration: strict, found in one order, every defect named with the way out."""

import json
from pathlib import Path

import jsonschema
import pytest

from physlab_mcp import config
from physlab_mcp.config import Config, load, locate, parse, schema, seconds_of
from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.paths import DataDir

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSLAB_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_shipped_file_is_valid_and_equals_the_built_in_settings():
    text = (ROOT / "server.config.json").read_text()
    jsonschema.validate(json.loads(text), schema())
    assert parse(text) == Config()


def test_the_shipped_file_has_every_section():
    assert set(json.loads((ROOT / "server.config.json").read_text())) == set(Config.model_fields)


def test_every_section_that_takes_settings_is_described():
    for name, section in schema()["$defs"].items():
        assert section.get("description"), name
        for key, value in section.get("properties", {}).items():
            assert value.get("description") or "$ref" in value, f"{name}.{key}"


def test_without_a_file_the_built_in_settings_count():
    assert locate() is None
    assert load() == Config()


def test_the_file_of_the_folder_counts_less_than_the_variable_and_that_less_than_the_option(tmp_path, monkeypatch):
    for name, level in (("server.config.json", "ERROR"), ("b.json", "WARNING"), ("c.json", "DEBUG")):
        (tmp_path / name).write_text(json.dumps({"logging": {"level": level}}))
    assert load().logging.level == "ERROR"
    monkeypatch.setenv("PHYSLAB_CONFIG", str(tmp_path / "b.json"))
    assert load().logging.level == "WARNING"
    assert load(tmp_path / "c.json").logging.level == "DEBUG"


def test_a_file_that_was_asked_for_must_exist(tmp_path):
    with pytest.raises(RequestError, match="no configuration file"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "field", "remedy"),
    [
        ('{"storag": {}}', "storag", "'storage'"),
        ('{"limits": {"allowed_root": []}}', "limits.allowed_root", "'allowed_roots'"),
        ('{"backends": {"local": {"worker": 1}}}', "backends.local.worker", "'workers'"),
        ('{"backends": {"slurm": {}}}', "backends.slurm", "local"),
        ('{"hub": {"model": "x"}}', "hub.model", "no settings yet"),
        ('{"planner": {"modle": "x"}}', "planner.modle", "'model'"),
        ('{"auth": {"token": "hunter2"}}', "auth.token", '"env"'),
        ('{"auth": {"token": {"env": "A", "file": "b"}}}', "auth.token", '"env"'),
        ('{"engine": {"lease_s": 0}}', "engine.lease_s", "schema"),
        ('{"storage": {"retention": "long"}}', "storage.retention", "schema"),
        ('{"limits": {}, "limits": {}}', "limits", "Keep one"),
    ],
)
def test_a_defect_names_its_place_and_the_way_out(text, field, remedy):
    with pytest.raises(RequestError) as caught:
        parse(text)
    assert caught.value.field == field
    assert remedy in (caught.value.remedy or "")


def test_a_secret_written_out_is_not_repeated_in_the_error():
    with pytest.raises(RequestError) as caught:
        parse('{"auth": {"token": "hunter2"}}')
    assert "hunter2" not in json.dumps(caught.value.as_dict())


def test_broken_json_is_told_with_its_line():
    with pytest.raises(RequestError, match="line 2"):
        parse('{"engine":\n }')


def test_all_defects_are_told_at_once():
    with pytest.raises(RequestError) as caught:
        parse('{"x": 1, "engine": {"lease_s": -1}}')
    assert len(caught.value.details or []) == 2


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "c.json").write_text('{"limits": {"allowed_roots": ["data"]}, "storage": {"sqlite": "x.db"}}')
    loaded = load(folder / "c.json")
    assert loaded.limits.allowed_roots == (str(folder / "data"),)
    assert loaded.store_path(DataDir(tmp_path)) == folder / "x.db"
    assert Config().store_path(DataDir(tmp_path)) == tmp_path / "physlab.db"


def test_a_secret_is_read_from_the_environment_or_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("A_SECRET", "one")
    (tmp_path / "secret").write_text("two\n")
    assert config.Secret(env="A_SECRET").read() == "one"
    assert config.Secret(file=str(tmp_path / "secret")).read() == "two"
    with pytest.raises(UnavailableError):
        config.Secret(env="NOT_THERE").read()
    with pytest.raises(UnavailableError):
        config.Secret(file=str(tmp_path / "none")).read()


@pytest.mark.parametrize(
    ("age", "seconds"), [("90s", 90), ("2m", 120), ("12h", 43200), ("30d", 2592000), ("1w", 604800)]
)
def test_ages_have_a_number_and_a_unit(age, seconds):
    assert seconds_of(age) == seconds
