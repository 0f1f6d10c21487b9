"""``csc verify-data`` on a data folder as fetching leaves it."""

from __future__ import annotations

import json

import pytest

from csc_data.fetching.staging import Staging

LABELS = "jrc_x/jrc_x.zarr/recon-1/labels/groundtruth/crop1/mito"
FILES = {f"{LABELS}/.zattrs": b"{}", **{f"{LABELS}/s0/0/0/{n}": bytes([n]) * 100 for n in range(30)}}


@pytest.fixture
def data(tmp_path):
    """A data folder that lists one crop, and holds it."""
    root = tmp_path / "data"
    root.mkdir()
    place = "s3://bucket/jrc_x/jrc_x.zarr/recon-1"
    row = f"1,jrc_x,recon-1,{place}/labels/groundtruth/crop1,{place}/em/fibsem-uint8\n"
    (root / "manifest.csv").write_text(f"crop_number,collection,alignment,crop_url,em_url\n{row}", encoding="utf-8")
    with Staging(root / "jrc_x") as staging:
        for name, body in FILES.items():
            staging.place(root / name, body)
    return root


@pytest.fixture
def verify(run, data):
    return lambda *arguments: run("verify-data", "--data", str(data), *arguments)


def test_whole_data_is_verified(verify):
    result = verify()
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("compared 31 files, 3.0 kB, in ")
    assert lines[1].startswith("verified: all 31 files as they came, in ")


def test_what_is_wrong_is_named_with_what_mends_it(verify, data):
    for number in range(25):
        (data / f"{LABELS}/s0/0/0/{number}").write_bytes(b"other")
    (data / f"{LABELS}/.zattrs").unlink()
    (data / f"{LABELS}/s0/0/1").mkdir()
    (data / f"{LABELS}/s0/0/1/0").write_bytes(b"from elsewhere")
    result = verify("-c", "1")
    assert result.exit_code == 1
    assert f"  damaged: {LABELS}/s0/0/0/0\n" in result.stdout
    assert "  damaged: 5 more\n" in result.stdout
    assert f"  missing: {LABELS}/.zattrs\n" in result.stdout
    assert f"  unknown: {LABELS}/s0/0/1/0\n" in result.stdout
    assert ", with the options of before, replaces what is damaged or missing" in result.stdout
    assert "next: csc fetch-data --checksum --data" in result.stdout
    assert "25 damaged, 1 missing, 1 unknown" in result.stderr


def test_programs_get_what_is_wrong_as_json(verify, data):
    (data / f"{LABELS}/s0/0/0/3").write_bytes(b"other")
    result = verify("--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["whole"], found["result"]["n_files"]) == (False, 31)
    assert [path.endswith("s0/0/0/3") for path in found["result"]["damaged"]] == [True]


def test_wrong_use_is_told_in_one_line(verify, run, tmp_path):
    result = verify("-c", "2")
    assert result.exit_code == 1
    assert "there is no such crop (did you mean " in result.stderr
    result = run("verify-data", "--data", str(tmp_path / "empty"))
    assert result.exit_code == 1
    assert "`csc fetch-data` fetches it" in result.stderr
