from torch.utils.tensorboard import SummaryWriter


def test_runs_are_united_and_what_comes_next_is_said(run, tmp_path):
    for name, steps in (("a", 3), ("b", 2)):
        with SummaryWriter(str(tmp_path / "tensorboard" / name)) as writer:
            for step in range(steps):
                writer.add_scalar("loss", 1.0, step)
    result = run("unite-tensorboards", "tensorboard", "--out", "all")
    assert result.output.splitlines() == [
        "  a: 3 points",
        "  b: 2 points",
        "united 2 runs in all",
        "next: tensorboard --logdir all",
    ]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["a", "b"]
    joined = run("unite-tensorboards", "tensorboard/a", "tensorboard/b", "--out", "one", "--join").output
    assert "left out" in joined
    assert "united 1 run in one" in joined


def test_a_folder_without_logs_is_one_line(run, tmp_path):
    (tmp_path / "empty").mkdir()
    result = run("unite-tensorboards", "empty")
    assert result.exit_code == 1
    assert "holds no TensorBoard logs" in result.stderr
