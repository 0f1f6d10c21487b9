"""Event files of TensorBoard, record by record: written at once, read, and cut.

A file is a row of records: the length of an event (uint64, little-endian), a CRC of it, the event as a protocol buffer,
and a CRC of that, as `tensorboard.summary.writer.record_writer` writes them.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

logger = logging.getLogger(__name__)

PREFIX = "events.out.tfevents."

_HEADER = struct.Struct("<QI")
_CRC_BYTES = 4


def event_files(folder: Path) -> list[Path]:
    """Return the event files of a folder in the order in which TensorBoard reads them: that of their names.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in (f"{PREFIX}2.host", f"{PREFIX}1.host", "metrics.csv"):
    ...         Path(folder, name).touch()
    ...     [second_in_name(file) for file in event_files(Path(folder))]
    [1, 2]
    """
    return sorted(file for file in folder.glob(f"{PREFIX}*") if file.is_file())


def read_events(file: Path) -> Iterator[Any]:
    """Yield the events of a file up to the first damaged one, as TensorBoard does.

    A writer that was killed leaves at most its last record cut.
    """
    with file.open("rb") as stream:
        for _, event in read_records(stream, file):
            yield event


def read_records(stream: BinaryIO, file: Path) -> Iterator[tuple[bytes, Any]]:
    """Yield each record as it is stored, and its event.

    Only the CRC of the length is checked: that of an event would be computed by Python, at 10 MB/s.
    """
    while len(header := stream.read(_HEADER.size)) == _HEADER.size:
        length, crc = _HEADER.unpack(header)
        if masked_crc32c(header[:8]) != crc:
            logger.warning("%s is damaged; what follows byte %d is left out", file, stream.tell() - _HEADER.size)
            return
        body = stream.read(length + _CRC_BYTES)
        if len(body) < length + _CRC_BYTES:
            return
        try:
            event = Event.FromString(body[:length])
        except DecodeError:
            logger.warning("%s is damaged; what follows byte %d is left out", file, stream.tell() - len(body))
            return
        yield header + body, event


def encode_event(event: Any) -> bytes:
    """Return an event as a record.

    Examples
    --------
    >>> import io
    >>> record = encode_event(Event(step=3))
    >>> [event.step for _, event in read_records(io.BytesIO(record), "memory")]
    [3]
    """
    stream = BytesIO()
    RecordWriter(stream).write(event.SerializeToString())
    return stream.getvalue()


class EventWriter:
    """Appends events to a new file of a folder, which is made with the first of them.

    Each event leaves the process at once: a kill loses none, and a checkpoint that is written after an event is never
    ahead of the logs. TensorBoard's own writer keeps events for up to two minutes.

    Parameters
    ----------
    folder : Path
    first_step : int
        What earlier files say of this step and later ones does not count. A TensorBoard that is open forgets it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = EventWriter(Path(folder))
    ...     writer.write(3, [scalar("loss", 0.5)])
    ...     writer.close()
    ...     events = list(read_events(event_files(Path(folder))[0]))
    >>> [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]
    [(3, 'loss', 0.5)]
    """

    def __init__(self, folder: Path, *, first_step: int = 0) -> None:
        self.folder = folder
        self.first_step = first_step
        self._stream: BinaryIO | None = None

    def write(self, step: int, values: Iterable[Any]) -> None:
        """Write the values of a step, `scalar` and `image`, as one event."""
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _append(self, event: Any) -> None:
        if self._stream is None:
            self._stream = self._open()
        self._stream.write(encode_event(event))

    def _open(self) -> BinaryIO:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Files are read in the order of their names, and clocks of machines differ: a later run's name is a later one.
        second = max([int(time.time()), *(second_in_name(file) + 1 for file in event_files(self.folder))])
        name = f"{PREFIX}{second:010d}.{socket.gethostname()}.{os.getpid()}.0"
        stream = (self.folder / name).open("xb", buffering=0)
        now = time.time()
        stream.write(encode_event(Event(wall_time=now, file_version="brain.Event:2")))
        if self.first_step:
            start = SessionLog(status=SessionLog.START)
            stream.write(encode_event(Event(wall_time=now, step=self.first_step, session_log=start)))
        return stream


def scalar(tag: str, value: float) -> Any:
    """Return a number for `EventWriter.write`.

    Examples
    --------
    >>> scalar("loss", 0.5).tag
    'loss'
    """
    return Summary.Value(tag=tag, simple_value=value)


def image(tag: str, png: bytes, height: int, width: int) -> Any:
    """Return an RGB picture for `EventWriter.write`.

    Examples
    --------
    >>> image("picture", b"", 4, 6).image.width
    6
    """
    picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    return Summary.Value(tag=tag, image=picture)


def cut_events(folder: Path, keeps: Callable[[str, int], bool]) -> None:
    """Take values out of the event files of a folder.

    A file that loses nothing is left alone; another gets its name when it is complete.

    Parameters
    ----------
    folder : Path
    keeps : callable
        Says of a tag and a step whether they stay.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = EventWriter(Path(folder))
    ...     for step in range(3):
    ...         writer.write(step, [scalar("loss", 0.5)])
    ...     writer.close()
    ...     cut_events(Path(folder), lambda tag, step: step < 2)
    ...     events = list(read_events(event_files(Path(folder))[0]))
    >>> [event.step for event in events if event.summary.value]
    [0, 1]
    """
    for file in event_files(folder):
        if all(keeps(value.tag, event.step) for event in read_events(file) for value in event.summary.value):
            continue
        temporary = file.with_name(f"cut.{os.getpid()}.part")  # TensorBoard reads all names with "tfevents" in them
        with file.open("rb") as stream, temporary.open("wb") as out:
            for record, event in read_records(stream, file):
                staying = [value for value in event.summary.value if keeps(value.tag, event.step)]
                if len(staying) == len(event.summary.value):
                    out.write(record)
                elif staying:
                    del event.summary.value[:]
                    event.summary.value.extend(staying)
                    out.write(encode_event(event))
        temporary.replace(file)


def second_in_name(file: Path) -> int:
    """Return the time in the name of an event file, in seconds; 0 if it has none.

    Examples
    --------
    >>> from pathlib import Path
    >>> second_in_name(Path(f"{PREFIX}1700000000.host")), second_in_name(Path(f"{PREFIX}mine"))
    (1700000000, 0)
    """
    text = file.name.removeprefix(PREFIX).split(".")[0]
    return int(text) if text.isdigit() else 0
