"""Whether the challenge's bucket can be reached."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from csc_cli.commands.doctor.finding import Finding
from csc_cli.stages.waiting import within
from csc_data.errors import CscError

if TYPE_CHECKING:
    from csc_data.config.user_config import Config


def look_at_bucket(config: Config, seconds: float) -> Finding:
    """Ask the bucket what it holds, and wait no longer than so many seconds.

    It is not needed by who has the data, so that it is no more than a note when it does not answer.
    """
    from csc_data.storage.bucket import Bucket
    from csc_data.storage.remote import Retries

    def ask() -> None:
        Bucket(config.bucket, endpoint=config.endpoint, retries=Retries(attempts=1)).children("")

    began = time.monotonic()
    why = ""
    try:
        within(seconds, ask)
    except (CscError, TimeoutError) as error:
        why = str(error)
    took = time.monotonic() - began
    where = f"s3://{config.bucket}" + (f" at {config.endpoint}" if config.endpoint else "")
    details: dict[str, object] = {"bucket": config.bucket, "endpoint": config.endpoint, "seconds": took}
    if not why:
        return Finding(name="bucket", said=f"{where} answers in {took:.1f} s", details={**details, "reached": True})
    return Finding(
        name="bucket",
        state="note",
        said=f"{where} is not reached: {why}",
        remedy="csc fetch-data, --use-s3 and published weights need a network; what is on the disk does not",
        details={**details, "reached": False},
    )
