"""Several runs on one executor: side by side where workers would be idle, each by itself when something goes wrong."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from csc_data.blocks import BlockGrid, BlockRun, Execution, Ledger, MissingBlocksError, run_chains
from csc_data.errors import InvalidArgumentError

WORKERS = 3


def grid(count):
    return BlockGrid(shape=(count, 1, 1), block_shape=(1, 1, 1))


def chain(*runs):
    yield from runs


@pytest.fixture(params=["here", "threads"])
def execution(request):
    if request.param == "here":
        yield Execution()
        return
    with ThreadPoolExecutor(WORKERS) as executor:
        yield Execution(executor=executor, max_pending=WORKERS)


def test_outputs_of_one_block_are_done_side_by_side():
    together = threading.Barrier(WORKERS)

    def work(block):
        together.wait(timeout=30)

    with ThreadPoolExecutor(WORKERS) as executor:
        chains = (chain(BlockRun(work=work, grid=grid(1))) for _ in range(WORKERS))
        run_chains(chains, Execution(executor=executor, max_pending=WORKERS))
    assert not together.broken


def test_the_next_chain_is_begun_only_when_workers_would_be_idle():
    begun, order = [], []

    def made(number):
        begun.append(number)
        yield BlockRun(work=lambda block: order.append((number, len(begun))), grid=grid(20))

    with ThreadPoolExecutor(1) as executor:
        run_chains((made(number) for number in range(3)), Execution(executor=executor, max_pending=2))
    assert [number for number, _ in order] == [0] * 20 + [1] * 20 + [2] * 20
    assert all(chains == 1 for number, chains in order[:18])


def test_runs_of_a_chain_follow_each_other(execution):
    seen = []

    def made(number):
        for stage in range(3):
            yield BlockRun(work=lambda block, stage=stage: seen.append((number, stage)), grid=grid(4))
            assert seen.count((number, stage)) == 4

    run_chains([made(0), made(1)], execution)
    for number in range(2):
        assert [stage for of, stage in seen if of == number] == [0] * 4 + [1] * 4 + [2] * 4


def test_an_error_ends_its_chain_alone_if_that_handles_it(execution):
    done, errors, calls = [], [], []

    def bad(block):
        if block.index == 1:
            raise InvalidArgumentError("never")
        done.append("bad")

    def careful():
        try:
            yield BlockRun(work=bad, grid=grid(2))
            pytest.fail("the run has not ended well")
        except MissingBlocksError as error:
            errors.append(str(error))

    good = BlockRun(work=lambda block: done.append("good"), grid=grid(9), progress=lambda *call: calls.append(call))
    run_chains([careful(), chain(good)], execution)
    assert errors == ["1 of 2 blocks are not finished: never; it would fail again, so mend that first"]
    assert (done.count("bad"), done.count("good")) == (1, 9)
    assert calls == [(number, 9) for number in range(10)]
    with pytest.raises(MissingBlocksError, match="1 of 2 blocks"):
        run_chains([chain(BlockRun(work=bad, grid=grid(2)))], execution)


def test_what_goes_wrong_as_a_chain_begins_is_its_own(execution, tmp_path):
    errors, done = [], []

    def careful():
        try:
            yield BlockRun(work=done.append, grid=grid(2), ledger=Ledger(tmp_path / "never started", {}))
        except FileNotFoundError as error:
            errors.append(error)

    run_chains([careful(), chain(BlockRun(work=done.append, grid=grid(3)))], execution)
    assert len(errors) == 1
    assert len(done) == 3


def test_what_is_complete_is_passed_over(execution, tmp_path):
    ledger = Ledger(tmp_path / "ledger", {})
    ledger.start()
    first = BlockRun(work=lambda block: None, grid=grid(3), ledger=ledger)
    run_chains([chain(first)], execution)
    done, calls = [], []
    again = BlockRun(
        work=done.append, grid=grid(3), ledger=Ledger(ledger.path, {}), progress=lambda *call: calls.append(call)
    )
    run_chains([chain(again, BlockRun(work=done.append, grid=grid(2)))], execution)
    assert len(done) == 2
    assert calls == [(3, 3)]


def test_an_interrupt_gives_back_the_blocks_of_all_runs(tmp_path):
    ledgers = [Ledger(tmp_path / f"{number}.ledger", {}) for number in range(2)]
    held = threading.Event()

    def stop(done, _):
        if done:
            assert all(list(ledger.folder.glob("*.alive")) for ledger in ledgers)
            held.set()
            raise KeyboardInterrupt

    def made(number):
        ledgers[number].start()
        work = (lambda block: held.wait(30)) if number else (lambda block: None)
        yield BlockRun(work=work, grid=grid(1 + number), ledger=ledgers[number], progress=None if number else stop)

    with ThreadPoolExecutor(2) as executor, pytest.raises(KeyboardInterrupt) as caught:
        run_chains([made(0), made(1)], Execution(executor=executor, max_pending=3))
    assert caught.tb is not None  # which keeps all that was open from being cleared away by itself
    assert not [path for ledger in ledgers for path in ledger.folder.glob("*.alive")]
