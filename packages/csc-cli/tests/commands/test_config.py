import tomllib
from pathlib import Path


def test_a_stored_data_folder_is_shown_with_where_it_comes_from(run, tmp_path):
    assert run("config", "set", "data", "somewhere").exit_code == 0
    line = next(line for line in run("config", "show").output.splitlines() if line.startswith("data "))
    assert line.split() == ["data", str(tmp_path / "somewhere"), "config", "file"]


def test_the_environment_wins_over_the_file_and_the_option_over_both(run, monkeypatch):
    run("config", "set", "data", "stored")
    monkeypatch.setenv("CSC_DATA", "from-environment")
    assert "from-environment" in run("config", "show").output
    output = run("config", "show", "--data", "from-option").output
    assert "from-option" in output
    assert "--data" in output
    assert "from-environment" not in output


def test_path_prints_the_file_that_set_writes(run):
    file = Path(run("config", "path").output.strip())
    assert not file.exists()
    run("config", "set", "endpoint", "http://127.0.0.1:9000")
    assert tomllib.loads(file.read_text("utf-8")) == {"endpoint": "http://127.0.0.1:9000"}


def test_what_is_unset_has_its_default_again(run):
    run("config", "set", "endpoint", "http://127.0.0.1:9000")
    run("config", "set", "bucket", "mine")
    assert "endpoint is now - (default; forgotten in" in run("config", "unset", "endpoint").output
    assert tomllib.loads(Path(run("config", "path").output.strip()).read_text("utf-8")) == {"bucket": "mine"}
    assert "does not say it" in run("config", "unset", "endpoint").output
    misspelt = run("config", "unset", "bucke")
    assert (misspelt.exit_code, "did you mean bucket?" in misspelt.stderr) == (1, True)


def test_a_misspelt_setting_is_refused_with_the_right_name(run):
    result = run("config", "set", "endpont", "x")
    assert result.exit_code == 1
    assert "did you mean endpoint?" in result.stderr
    assert "Traceback" not in result.output


def test_a_template_without_its_placeholders_is_refused(run):
    result = run("config", "set", "predictions", "here/{dataset}")
    assert result.exit_code == 1
    assert "{class_name} {crop} {dataset}" in result.stderr


def test_a_damaged_settings_file_is_one_clear_message(run):
    file = Path(run("config", "path").output.strip())
    file.parent.mkdir(parents=True)
    file.write_text("data = [unfinished", "utf-8")
    result = run("config", "show")
    assert result.exit_code == 1
    assert str(file) in result.stderr
    assert "TOML" in result.stderr
