"""Processes of this machine of which one may die without the others: only what it worked on is lost."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from csc_data.errors import CscError, InvalidArgumentError

R = TypeVar("R")

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class WorkerDiedError(CscError, BrokenExecutor):
    """The process that worked on a task ended; others go on, and the task can be given again."""


def broken() -> tuple[type[Exception], ...]:
    """Return what executors, Dask's among them, raise that lost their workers.

    Examples
    --------
    >>> from concurrent.futures import BrokenExecutor
    >>> BrokenExecutor in broken()
    True
    """
    distributed = sys.modules.get("distributed")
    return (BrokenExecutor, CancelledError, *((distributed.KilledWorker,) if distributed else ()))


class ProcessWorkers(Executor):
    """Processes that take tasks, and are started anew when they die.

    They are spawned, so nothing of this process's threads or devices is in them. They end with this process, however
    it ends, and leave Ctrl-C to it.

    Parameters
    ----------
    count : int
        How many.
    threads : int, optional
        Threads that the numerical libraries of each may start.
    environments : sequence of mapping, optional
        Environment variables of each, as many as processes; such as the device that one is to see.

    Raises
    ------
    InvalidArgumentError
        If there are no processes, or not as many environments.
    """

    def __init__(
        self, count: int, *, threads: int | None = None, environments: Sequence[Mapping[str, str]] | None = None
    ) -> None:
        environments = [{}] * count if environments is None else environments
        if count < 1 or len(environments) != count:
            raise InvalidArgumentError(f"{count} processes in {len(environments)} environments; expected one for each")
        divided = {} if threads is None else dict.fromkeys(_THREADS, str(threads))
        self._workers = [_Worker({**divided, **environment}) for environment in environments]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")

    def submit(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Let the next process that is free call a function, which must be picklable."""
        return self._threads.submit(self._call, function, args, kwargs)

    def _call(self, function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        worker = self._idle.get()
        try:
            result: R = worker.call(function, args, kwargs)
        finally:
            self._idle.put(worker)
        return result

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, after what they work on."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            for worker in self._workers:
                worker.end()

    def kill(self) -> None:
        """End the processes at once, whatever they work on; those tasks end with `WorkerDiedError`."""
        for worker in self._workers:
            worker.kill()


class _Worker:
    """One process, which is started when there is something to do."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        packed = pickle.dumps((function, args, kwargs))  # before a process is started for it
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._pipe is not None
        try:
            self._pipe.send_bytes(packed)
            succeeded, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            text = f"process {self._process.pid} ended with {_ending(self._process.exitcode)}"
            self._process = None
            raise WorkerDiedError(text) from None
        if succeeded:
            return answer
        raise answer

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, dict(self._environment)), daemon=True)
        self._process.start()
        theirs.close()  # with a copy of its end here, its death could not be seen

    def end(self) -> None:
        if self._process is not None and self._pipe is not None:
            self._pipe.close()
            self._process.join()
            self._process = None

    def kill(self) -> None:
        process = self._process
        if process is not None:
            process.kill()
            process.join()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def _serve(pipe: Connection, environment: dict[str, str]) -> None:
    """Call what comes through the pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    torch = sys.modules.get("torch")
    if torch is not None and "OMP_NUM_THREADS" in environment:  # a script that imports it has been imported here, too
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            packed = pipe.recv_bytes()
        except (EOFError, ConnectionError):
            return
        pipe.send_bytes(_call(packed))


def _call(packed: bytes) -> bytes:
    try:
        function, args, kwargs = pickle.loads(packed)  # noqa: S301  # from the process that started this one
        answer = True, function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to who gave the task
        if not isinstance(error, CscError | OSError):
            error.add_note(f"in a worker:\n{''.join(traceback.format_exception(error))}")
        answer = False, error
    try:
        return pickle.dumps(answer)
    except (pickle.PicklingError, TypeError, AttributeError):
        return pickle.dumps((False, RuntimeError(f"what cannot be sent back from a worker: {answer[1]!r}")))


def _end_with_parent() -> None:
    """End this process as soon as its parent has: nobody would take its results, and others do its work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
