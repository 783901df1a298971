"""A process that writes to a store, run by the tests: `writer.py FOLDER NAME COUNT [PADDING [FILE_LIMIT]]`.

It says `ready`, waits for a line, adds COUNT records and says the number of each once it is stored.
"""

import resource
import sys
from pathlib import Path

from factory import CPU, TINY, make_record, make_task
from windtunnel.errors import StoreError
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import open_store


def main(folder: str, name: str, count: str, padding: str = "0", file_limit: str = "") -> None:
    """Write the records; each process by a name of its own, so that their tasks differ."""
    say("ready")
    sys.stdin.readline()
    size = TINY.model_copy(update={"name": name})
    failure = Failure(stage="measure", message="made to fail", details="x" * int(padding))
    with open_store(Path(folder)) as store:
        if file_limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_limit), resource.RLIM_INFINITY))
        for number in range(int(count)):
            record = make_record(make_task(size=size, seed=number), status=Status.FAILED, failure=failure)
            try:
                store.add(record, CPU)
            except StoreError as error:
                say(f"StoreError: {error}")
                return
            say(str(number))


def say(line: str) -> None:
    """Write a line that the test reads at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
