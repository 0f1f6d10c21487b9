"""``csc make-synthetic``: tissue to pretrain on."""

import numpy as np

from csc_data.volumes import open_volume

RAW = "new/jrc_synth-pretraining/jrc_synth-pretraining.zarr/recon-1/em/fibsem-uint8"


def test_a_volume_with_labels_is_written_that_can_be_split(run):
    said = run(
        "make-synthetic", "new", "--size", "16,24,32", "--voxel-size", "16", "--classes", "nuc,er,cyto", "--seed", "3"
    )
    assert said.exit_code == 0, said.output
    for words in ("16x24x32 voxels of 16x16x16 nm, seed 3", "2 annotated crops, 3 classes", "next: csc make-datasplit"):
        assert words in said.output
    assert np.asarray(open_volume(RAW).levels[0].array[...]).std() > 2
    split = run("make-datasplit", "--data", "new", "--classes", "cyto")
    assert split.exit_code == 0, split.output
    assert (
        "all of it was written before"
        in run(
            "make-synthetic",
            "new",
            "--size",
            "16,24,32",
            "--voxel-size",
            "16",
            "--classes",
            "nuc,er,cyto",
            "--seed",
            "3",
        ).output
    )


def test_a_dry_run_says_how_large_it_would_be_and_writes_nothing(run, tmp_path):
    said = run("make-synthetic", "there", "--size", "1024", "--dry-run")
    assert said.exit_code == 0, said.output
    assert "8 annotated crops, 48 classes, 1,024 blocks, at most about" in said.output
    assert not (tmp_path / "there").exists()


def test_what_cannot_be_is_said_in_a_line(run):
    assert "is not a size in voxels" in run("make-synthetic", "x", "--size", "1,2").output
    assert "did you mean er" in run("make-synthetic", "x", "--classes", "err").output
    said = run("make-synthetic", "x", "--microscope", "sstm")
    assert said.exit_code == 1
    assert "sstem" in said.output
