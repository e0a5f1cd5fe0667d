"""Run a command in forked processes that kill themselves at chosen file operations; used by `test_crash`.

``python crash_driver.py JOB.json``, where the job has the arguments of `stellarfm.cli.main.main`, the folder whose file
operations count, and the number of ``kills``. The command is run once without a kill, then with SIGKILL before random
operations, each time followed by an undisturbed run. Prints a line of JSON for each and keeps copies of the folder.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
from pathlib import Path

# what the commands import, once for all children
import stellarfm.batch
import stellarfm.fractals.export
import stellarfm.inference.model
import stellarfm.readers.hdf5.reader  # noqa: F401
from stellarfm.cli.main import main

COUNTED = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}


def run(arguments, folder, *, kill=-1, largest_file=None):
    """Fork; return the exit status (negative: signal), the number of file operations in `folder`, and the output."""
    (count_from, count_to), (text_from, text_to) = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(text_to, 1)
        os.dup2(text_to, 2)
        done = 0

        def count(event, args):
            nonlocal done
            if event in COUNTED and any(str(each).startswith(folder) for each in args[:2]):
                if done == kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                done += 1

        sys.addaudithook(count)
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
        status = main(arguments)
        os.write(count_to, str(done).encode())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    os.close(count_to)
    os.close(text_to)
    with os.fdopen(text_from) as pipe:
        text = pipe.read()
    with os.fdopen(count_from) as pipe:
        operations = int(pipe.read() or -1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), operations, text


def copy(folder, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    start = job["folder"] + "-start"
    copy(job["folder"], start)
    kills, seed = [-1], random.Random(" ".join(job["arguments"][:1]))
    for number in range(job["kills"] + 1):
        kill = kills[number]
        copy(start, job["folder"])
        stopped = run(job["arguments"], job["folder"], kill=kill, largest_file=job.get("largest_file"))
        if number == 0 and job["kills"]:
            kills += seed.sample(range(stopped[1]), job["kills"])
        copy(job["folder"], f"{start}-{number}-stopped")
        repeated = run(job["arguments"], job["folder"])
        copy(job["folder"], f"{start}-{number}-repeated")
        sys.stdout.write(json.dumps({"stopped": stopped, "repeated": repeated}) + "\n")
        sys.stdout.flush()
