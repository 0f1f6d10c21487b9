"""``csc fetch-data`` against a bucket on loopback.

What fetching does with failures and kills is tested in csc-data; here it is what the user reads and the exit codes.
"""

from __future__ import annotations

import json

import pytest

BUCKET = "janelia-cosem-datasets"
ZARR = "jrc_x/jrc_x.zarr/recon-1"
HEADER = "crop_number,collection,alignment,crop_url,em_url\r\n"  # the organisers' since December 2024


@pytest.fixture
def fetch(run, served, tmp_path):
    """Run ``csc fetch-data`` into a folder that lists the crop."""
    data = tmp_path / "data"
    data.mkdir()
    place = f"s3://{BUCKET}/{ZARR}"
    row = f"1,jrc_x,recon-1,{place}/labels/groundtruth/crop1,{place}/em/fibsem-uint8\n"
    (data / "manifest.csv").write_text(HEADER + row, encoding="utf-8")
    (data / "test_crop_manifest.csv").write_text(
        "crop_name,dataset,class_label,voxel_size,translation,shape\n900,jrc_x,mito,[16;16;16],[8;8;8],[2;2;2]\n",
        encoding="utf-8",
    )

    def fetch_data(*arguments):
        return run("fetch-data", "-d", str(data), "--endpoint", served[0], *arguments)

    return fetch_data


@pytest.fixture
def fetched(tmp_path, bucket_folder):
    """A function that returns the keys of the bucket that are on disk, and checks that they are whole."""

    def keys():
        found = set()
        for path in (tmp_path / "data").rglob("*"):
            key = path.relative_to(tmp_path / "data").as_posix()
            records = {".csc-digests", ".csc-listings", "not-fetched.txt"}
            if path.is_file() and path.suffix not in {".csv", ".zip"} and not records & {path.name, path.parent.name}:
                if (bucket_folder / key).is_file():
                    assert path.read_bytes() == (bucket_folder / key).read_bytes()
                found.add(key)
        return found

    return keys


def test_a_dry_run_shows_each_crop_and_writes_nothing(fetch, fetched):
    output = fetch("--dry-run").output
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line.startswith("  crop")}
    assert rows["crop1"][1:5] == ["jrc_x", "s0", "s1", "2"]
    assert rows["crop900"][1:4] == ["jrc_x", "s1", "test"]
    assert "nothing was fetched" in output
    assert fetched() == set()


def test_fetching_says_what_came_that_it_is_verified_and_what_is_next(fetch, fetched):
    result = fetch()
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith("crops by ")
    assert "2 crops: " in lines[1]
    assert any(line.startswith("fetched ") and "/s)" in line for line in lines)
    assert lines[-2].startswith("verified: all ")
    assert lines[-1] == "next: csc make-datasplit"
    n_files = len(fetched())
    assert f"all {n_files} files" in lines[-2]
    again = fetch()
    assert "0 to fetch" in again.output
    assert not any(line.startswith("fetched ") for line in again.output.splitlines())


def test_a_run_on_a_listing_of_before_says_how_old_that_is(fetch, tmp_path, served):
    fetch()
    (kept,) = (tmp_path / "data" / ".csc-listings").iterdir()
    content = json.loads(kept.read_text("utf-8"))
    kept.write_text(json.dumps({**content, "listed": content["listed"] - 7200}), "utf-8")
    assert "; the bucket as listed 2 h 0 min ago (--relist)" in fetch().output.splitlines()[0]
    assert "ago" not in fetch("--relist").output


def test_the_result_goes_on_to_a_datasplit(fetch, run, tmp_path):
    fetch()
    result = run("make-datasplit", "--data", str(tmp_path / "data"), "-vr", "0")
    assert result.exit_code == 0, result.output
    assert "1 crop to train" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-c", "2"], 1, "there is no such crop (did you mean 1?)"),
        (["--classes", "mitto"], 1, "did you mean mito?"),
        (["-ds", "jrc_y"], 1, "did you mean jrc_x?"),
        (["-p", "-1"], 2, "'-1' is neither a number of voxels nor auto"),
        (["-p", "auto"], 2, "--raw-padding auto and --config CONFIG go together"),
        (["--config", "train_3D.py"], 2, "--raw-padding auto and --config CONFIG go together"),
        (["-p", "auto", "--config", "nowhere.toml"], 1, "there is no experiment file nowhere.toml"),
        (["-m", "replace"], 2, "'append', 'overwrite'"),
        (["-w", "0"], 2, "0 is not in the range"),
        (["--remove-zip"], 2, "goes with --zip"),
        (["--bucket", "other"], 1, "has no bucket 'other'"),
        (["--endpoint", "nowhere"], 1, "endpoint must be an address"),
        (["--endpoint", "http://127.0.0.1:9"], 1, "no connection to http://127.0.0.1:9"),
        (["--zip", "-p", "7"], 1, "no archive with a padding of 7"),
        (["--zip", "-c", "1"], 1, "holds everything"),
    ],
)
def test_wrong_use_is_told_in_one_line(fetch, fetched, arguments, code, words):
    result = fetch(*arguments)
    assert result.exit_code == code
    assert words in result.stderr
    if code == 1:
        assert len(result.stderr.strip().splitlines()) == 1
    assert fetched() == set()


def test_what_cannot_be_had_is_named_with_an_exit_code_and_fetched_by_the_next_run(fetch, fetched, served):
    served[1].broken = (f"{ZARR}/labels/groundtruth/crop1/mito/s0/0/0/0",)
    result = fetch()
    assert result.exit_code == 1
    assert f"failed: {served[1].broken[0]}: s3://{BUCKET}/{served[1].broken[0]}: access denied" in result.stdout
    assert "labels left unreadable until all of it is there: crop1" in result.stdout
    assert "run the same again" in result.stderr
    assert served[1].broken[0] not in fetched()
    served[1].broken = ()
    assert fetch().exit_code == 0
    assert f"{ZARR}/labels/groundtruth/crop1/mito/s0/0/0/0" in fetched()


def test_many_failures_are_listed_in_a_file(fetch, served, tmp_path):
    raw = [f"{ZARR}/em/fibsem-uint8/s0/{z}/{y}/{x}" for z in range(3) for y in range(3) for x in range(3)]
    served[1].broken = tuple(raw)
    result = fetch("-p", "8", "-w", "64")
    assert result.exit_code == 1
    assert "failed: 7 more" in result.stdout
    listed = (tmp_path / "data" / "not-fetched.txt").read_text("utf-8")
    assert sorted(line.split(": ")[0] for line in listed.splitlines()) == raw


def test_the_raw_that_patches_of_an_experiment_need_comes_along(fetch, fetched, tmp_path):
    def raw():
        return {key for key in fetched() if key.startswith(f"{ZARR}/em/fibsem-uint8/s0/") and key[-1].isdigit()}

    experiment = tmp_path / "train.toml"
    array = "{ shape = [4, 4, 4], scale = [8, 8, 8] }"
    experiment.write_text(
        f'classes = ["mito"]\ninput_array_info = {array}\ntarget_array_info = {array}\n'
        'spatial_transforms = { rotate = ["z"] }\n',
        encoding="utf-8",
    )
    assert fetch("-c", "1").exit_code == 0
    assert raw() == {f"{ZARR}/em/fibsem-uint8/s0/1/1/1"}
    result = fetch("-c", "1", "-p", "auto", "--config", str(experiment))
    assert result.exit_code == 0, result.stderr
    assert result.output.splitlines()[0].endswith("16 x 24 x 24 nm around one of their size")
    assert len(raw()) == 27
    zipped = fetch("--zip", "-p", "auto", "--config", str(experiment))
    assert "an archive has a fixed padding" in zipped.stderr
    experiment.write_text("classes = ['mito']\ninput_aray_info = 3\n", encoding="utf-8")
    assert "did you mean input_array_info?" in fetch("-p", "auto", "--config", str(experiment)).stderr


def test_a_zip_is_fetched_unpacked_and_removed(fetch, fetched, run, bucket_folder, tmp_path):
    output = fetch("--zip", "--dry-run").output
    assert "matched_res_no_pad.zip" in output
    assert fetched() == set()
    result = fetch("--zip", "--remove-zip")
    assert result.exit_code == 0, result.stderr
    assert "next: csc make-datasplit" in result.output
    assert {key for key in fetched() if key.startswith("jrc_x")} == {
        path.relative_to(bucket_folder).as_posix() for path in (bucket_folder / "jrc_x").rglob("*") if path.is_file()
    }
    assert not list((tmp_path / "data").glob("*.zip*"))
    assert "verified: all " in run("verify-data", "--data", str(tmp_path / "data")).output


def test_the_settings_name_endpoint_and_data_folder(run, fetch, served, tmp_path, fetched):
    run("config", "set", "endpoint", served[0])
    run("config", "set", "data", str(tmp_path / "data"))
    assert run("fetch-data", "--classes", "er").exit_code == 0
    assert any("/er/" in key for key in fetched())
    assert not any("/mito/" in key for key in fetched())


MANIFESTS = {
    "manifest.csv": HEADER
    + f"1,jrc_x,recon-1,s3://{BUCKET}/{ZARR}/labels/groundtruth/crop1,s3://{BUCKET}/{ZARR}/em/fibsem-uint8\r\n",
    "test_crop_manifest.csv": "crop_name,dataset,class_label,voxel_size,translation,shape\n"
    "901,jrc_x,mito,[8;8;8],[0;0;0],[4;4;4]\n",
    "zip_manifest.csv": f"all_res,raw_padding,file,url\nFalse,0,a.zip,s3://{BUCKET}/a.zip\n",
}


@pytest.fixture
def organisers(served, bucket_folder, monkeypatch):
    """Serve manifests from the same server, at the addresses that the environment names."""
    for name, text in MANIFESTS.items():
        (bucket_folder / name).write_text(text, encoding="utf-8")
    for variable, name in zip(
        ("CSC_FETCH_DATA_MANIFEST_URL", "CSC_TEST_CROP_MANIFEST_URL", "CSC_FETCH_ZIP_DATA_MANIFEST_URL"),
        MANIFESTS,
        strict=True,
    ):
        monkeypatch.setenv(variable, f"{served[0]}/{BUCKET}/{name}")


def test_classes_refresh_reads_the_organisers_lists_and_says_what_changed(run, organisers, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    result = run("classes", "--tested", "--refresh")
    assert result.exit_code == 0, result.stderr
    assert "1 annotated crop listed by http://127.0.0.1" in result.output
    assert "new since this package: 901\n" in result.output
    assert "and 284 more\n" in next(
        line + "\n" for line in result.output.splitlines() if "no longer listed: 3, " in line
    )
    plan = run("fetch-data", "-d", str(tmp_path / "empty"), "-c", "7")
    assert "did you mean 1?" in plan.stderr
    monkeypatch.setenv("CSC_TEST_CROP_MANIFEST_URL", "http://example.org/x.csv")
    result = run("fetch-data", "--refresh")
    assert result.exit_code == 1
    assert "must begin with https://" in result.stderr


def test_fetch_data_refreshes_the_lists_and_fetches_what_they_name(run, organisers, served, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    result = run("fetch-data", "--refresh", "-d", str(tmp_path / "data"), "--endpoint", served[0], "-c", "train")
    assert result.exit_code == 0, result.stderr
    assert "1 test crop listed by http://127.0.0.1" in result.output
    assert "crops by the organisers' list as of " in result.output
    assert (tmp_path / "data" / ZARR / "labels" / "groundtruth" / "crop1" / "mito" / ".zattrs").is_file()
    assert (tmp_path / "data" / ZARR / "em" / "fibsem-uint8" / ".zattrs").is_file()


def test_programs_get_the_plan_and_what_came_as_json(fetch, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    planned = fetch("--dry-run", "--json")
    plan = json.loads(planned.stdout)
    assert [(crop["crop"], crop["test"]) for crop in plan["crops"]] == [("crop1", False), ("crop900", True)]
    assert plan["files_to_fetch"] == plan["files"] == sum(crop["files"] for crop in plan["crops"])
    assert max(len(line) for line in planned.stderr.splitlines() if "crop1 " in line) <= 80
    came = json.loads(fetch("--json").stdout)
    assert came["complete"]
    assert came["fetched_files"] == plan["files"]
    assert came["plan"]["crops"] == plan["crops"]
