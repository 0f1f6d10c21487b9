import io
import re

from csc_train.training.hooks.memory import MemoryReport
from csc_train.training.hooks.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_terminal_there_is_a_line_for_each_epoch(begin, capsys):
    run = begin(ProgressBar(), epochs=3).start()
    run.epoch(iou=0.25)
    run.epoch(iou=0.125)
    run.end()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("  epoch 1/3: loss 0.4000, validation loss 0.7000, mean IoU 0.250, mean Dice 0.600, ")
    for words in ("best iou 0.250 (epoch 1)", "5 samples/s", "25% waiting for data", "left", "(2.0 s)"):
        assert words in second


def test_a_terminal_shows_a_bar_and_the_lines_above_it(begin, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    run = begin(ProgressBar(), epochs=3).start()
    run.epoch(iou=0.25)
    run.step(loss=0.5)
    run.step(loss=0.5)
    run.end()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "  epoch 1/3: loss 0.4000" in shown
    assert re.search(r"epoch 2/3 .*2/4 loss 0\.5000, 5 samples/s, 25% waiting for data, best iou 0\.250", shown)


def test_a_run_that_ends_early_says_why(begin, capsys):
    run = begin(ProgressBar()).start()
    run.step()
    run.stop("signal SIGTERM")
    run.end("signal")
    line = "  stopped in epoch 1, batch 1 of 4 (signal SIGTERM); the same command goes on from there\n"
    assert capsys.readouterr().out == line
    run = begin(ProgressBar()).goes_on_from(6).start()
    run.stop("no better epoch for 2 epochs")
    run.end("stopped")
    assert capsys.readouterr().out == "  ended after epoch 6: no better epoch for 2 epochs\n"


def test_one_process_speaks(begin, capsys):
    run = begin(ProgressBar(), MemoryReport(1))
    run.speaks = False
    run.start().epoch()
    run.end()
    assert capsys.readouterr().out == ""


def test_the_time_that_is_left_is_that_of_what_this_process_has_to_do(begin, capsys, monkeypatch):
    now = iter([100.0, 104.0])
    monkeypatch.setattr("csc_train.training.hooks.progress.time.perf_counter", lambda: next(now))
    run = begin(ProgressBar(), epochs=10).goes_on_from(7).start()
    run.epoch()  # 4 s for one of three
    assert ", 8 s left" in capsys.readouterr().out


def test_memory_is_reported_now_and_then_with_what_grew(begin, capsys):
    class Leaked:
        pass

    kept = []
    run = begin(MemoryReport(2)).start()
    capsys.readouterr()
    run.step()
    kept += [Leaked() for _ in range(500)]
    run.step()
    run.step()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("memory at step 2: process ")
    assert " GB; more objects: " in line
    assert "Leaked +500" in line
