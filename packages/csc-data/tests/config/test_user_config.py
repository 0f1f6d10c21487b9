from __future__ import annotations

from pathlib import Path

import pytest

from csc_data.config.user_config import (
    Config,
    choose_endpoint,
    config_origins,
    config_path,
    load_config,
    read_config_file,
    store_choice,
)
from csc_data.errors import InvalidArgumentError, ProblemsError


@pytest.fixture(autouse=True)
def own_configuration(tmp_path, monkeypatch):
    """No test reads or writes the settings of who runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path / "config"))
    monkeypatch.delenv("CSC_DATA", raising=False)


def test_the_file_lies_in_the_users_configuration_folder(tmp_path):
    assert tmp_path in config_path().parents
    assert config_path().name == "config.toml"
    assert not config_path().exists()


def test_without_anything_the_defaults_hold_and_nothing_is_written(tmp_path):
    assert load_config() == Config()
    assert load_config().root == Path("data")
    assert list(tmp_path.iterdir()) == []


def test_the_call_beats_the_environment_which_beats_the_file_which_beats_the_default(monkeypatch):
    assert load_config().data == "data"
    store_choice("data", "/from/file")
    assert load_config().data == "/from/file"
    monkeypatch.setenv("CSC_DATA", "/from/environment")
    assert load_config().data == "/from/environment"
    assert load_config(data="/from/call").data == "/from/call"
    assert load_config(data=Path("/from/call")).data == "/from/call"
    monkeypatch.setenv("CSC_DATA", "")
    assert load_config().data == "/from/file"


def test_an_environment_and_a_file_can_be_given(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('bucket = "other"\n')
    config = load_config(environ={"CSC_DATA": "/e"}, file=file)
    assert (config.data, config.bucket) == ("/e", "other")


def test_origins_tell_where_each_value_comes_from(monkeypatch):
    store_choice("endpoint", "http://localhost:1")
    assert config_origins()["data"] == ("data", "default")
    assert config_origins()["endpoint"] == ("http://localhost:1", "config file")
    monkeypatch.setenv("CSC_DATA", "/e")
    assert config_origins()["data"] == ("/e", "CSC_DATA")
    assert config_origins(data="/d")["data"] == ("/d", "--data")
    assert set(config_origins()) == set(Config.__dataclass_fields__) - {"experiment"}


def test_the_endpoint_of_the_call_comes_before_the_configured_one_and_local_paths_need_none():
    assert choose_endpoint("s3://b/a") is None
    store_choice("endpoint", "http://configured:1")
    assert choose_endpoint("s3://b/a") == "http://configured:1"
    assert choose_endpoint("s3://b/a", "http://call") == "http://call"
    assert choose_endpoint("/data/a") is None


def test_stored_settings_add_up_and_a_relative_data_folder_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store_choice("data", "here")
    file = store_choice("bucket", "mine")
    assert file == config_path()
    assert read_config_file(file) == {"data": str(tmp_path / "here"), "bucket": "mine"}
    assert [p.name for p in file.parent.iterdir()] == ["config.toml"]
    store_choice("data", "~/there")
    assert load_config().data == str(tmp_path / "there")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("dat", "x", "did you mean data"),
        ("qqqqqq", "x", "known are data, experiments, raw"),
        ("data", "", "is empty"),
        ("experiment", "mine", "did you mean experiments"),
        ("raw", "{dataset}/{crop}", r"must hold \{dataset\}"),
        ("predictions", "{dataset}/{crop}", r"\{class_name\} \{crop\} \{dataset\}"),
        ("processed", "{dataset", "not a path template"),
    ],
)
def test_settings_that_cannot_be_are_not_stored(name, value, words):
    with pytest.raises(ProblemsError, match=words):
        store_choice(name, value)
    assert not config_path().exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data = \n", "not valid TOML"),
        ("data = 3\n", "data: must be text, got 3"),
        ('dta = "x"\n', "did you mean data"),
        ('raw = "x"\n', "must hold"),
    ],
)
def test_a_damaged_file_is_an_error_with_its_path(text, words):
    config_path().parent.mkdir(parents=True)
    config_path().write_text(text)
    with pytest.raises(ProblemsError, match=words) as caught:
        load_config()
    assert "config.toml" in str(caught.value)


def test_all_problems_of_a_file_are_reported_together():
    config_path().parent.mkdir(parents=True)
    config_path().write_text('raw = "x"\nlabels = "y"\nfoo = "z"\n')
    with pytest.raises(ProblemsError) as caught:
        load_config()
    assert [problem.where for problem in caught.value.problems] == ["raw", "labels", "foo"]


def test_paths_are_those_of_the_challenge():
    config = Config(data="d")
    values = {"dataset": "jrc_hela-2", "crop": "crop234", "class_name": "mito"}
    assert config.path("raw", dataset="jrc_hela-2") == Path("d/jrc_hela-2/jrc_hela-2.zarr/recon-1/em/fibsem-uint8")
    assert config.path("labels", **values) == Path(
        "d/jrc_hela-2/jrc_hela-2.zarr/recon-1/labels/groundtruth/crop234/mito"
    )
    assert config.path("predictions", **values) == Path("d/predictions/jrc_hela-2.zarr/crop234/mito")
    assert config.path("processed", **values) == Path("d/processed/jrc_hela-2.zarr/crop234/mito")
    assert config.path("submission") == Path("d/submission.zarr")
    assert config.path("ground_truth") == Path("d/ground_truth.zarr")
    assert config.path("datasplit") == Path("d/datasplit.csv")


def test_a_home_folder_is_expanded(tmp_path):
    assert Config(data="~/x").root == tmp_path / "x"


def test_placeholders_are_found_again_in_the_paths_that_templates_make():
    values = {"dataset": "jrc_a-1", "crop": "crop12", "class_name": "er_mem"}
    for templates in (Config(data="d"), Config(data="d", labels="{crop}/of/{dataset}+{class_name}")):
        for name in ("labels", "predictions", "processed"):
            assert templates.placeholders(name, templates.path(name, **values)) == values
    two_names = Path("d/jrc_a/jrc_b.zarr/recon-1/labels/groundtruth/crop1/er")
    assert Config(data="d").placeholders("labels", two_names) is None


def test_templates_of_windows_give_the_same_paths():
    windows = Config(
        data="d", raw=r"{dataset}\{dataset}.zarr\em", labels=r"{dataset}\{dataset}.zarr\{crop}\{class_name}"
    )
    assert windows.path("raw", dataset="x") == Path("d/x/x.zarr/em")
    values = {"dataset": "x", "crop": "crop1", "class_name": "er"}
    assert windows.placeholders("labels", windows.path("labels", **values)) == values


def test_a_placeholder_without_a_value_is_an_error():
    with pytest.raises(InvalidArgumentError, match="the path of labels needs class_name, crop"):
        Config(data="d").path("labels", dataset="x")


def test_a_template_may_be_absolute(tmp_path):
    config = Config(data="d", raw=f"{tmp_path}/{{dataset}}/em")
    assert config.path("raw", dataset="x") == tmp_path / "x" / "em"
    assert config.placeholders("raw", tmp_path / "x" / "em") == {"dataset": "x"}


def test_what_an_experiment_makes_lies_in_its_folder_and_data_stay_where_they_are(tmp_path):
    values = {"dataset": "a", "crop": "crop1", "class_name": "er"}
    config = Config(data="d").of_experiment(tmp_path / "first")
    assert config.path("predictions", **values) == tmp_path / "first/predictions/a.zarr/crop1/er"
    assert config.path("processed", **values) == tmp_path / "first/processed/a.zarr/crop1/er"
    assert config.path("submission") == tmp_path / "first/submission.zarr"
    assert config.path("results") == tmp_path / "first/results"
    for name in ("labels", "ground_truth", "datasplit"):
        assert Path("d") in config.path(name, **values).parents
    assert config.placeholders("predictions", config.path("predictions", **values)) == values
    assert config.of_experiment("second") == config  # the one that was asked for counts


def test_a_template_that_is_absolute_holds_below_the_data_folder_too(tmp_path):
    config = Config(data=str(tmp_path), predictions=f"{tmp_path.as_posix()}/p/{{dataset}}/{{crop}}/{{class_name}}")
    values = {"dataset": "a", "crop": "crop1", "class_name": "er"}
    assert config.placeholders("predictions", config.path("predictions", **values)) == values
