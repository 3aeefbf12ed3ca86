"""Runs the cells that are not finished, some side by side, each on its share of the cores."""

import collections
import json
import os
import pathlib
import subprocess
import sys
import time

from sat_tf.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]


def read_cell(cell):
    """Returns what a finished cell wrote and what its run was made with, or None if it has yet to
    run.

    A cell.json of other flags or measurements than are asked for does not count; one that cannot be
    read raises UserError.
    """

    def asked_for(written):
        return written if _same(written["asked"], cell.asked) else None

    written = _read(
        os.path.join(cell.folder, "cell.json"),
        asked_for,
        "remove it, and the cell is measured again",
    )
    made_with = written and _read(
        os.path.join(cell.folder, "config.json"),
        _made_with,
        "remove the cell's folder, and it runs anew",
    )
    return written and {**(made_with or {}), **written}


def _read(path, take, remedy):
    """Returns take(what a JSON file holds), or None where there is no file."""
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return take(json.load(file))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--runs: {path} cannot be read ({error}); {remedy}") from error


def _made_with(config):
    return {
        "git_commit": config.get("git_commit"),
        "tensorflow": config.get("versions", {}).get("tensorflow"),
    }


def _same(written, asked):
    """Whether two cells are the same; how the flags were spelt is no matter."""
    written, asked = (
        {name: value for name, value in json.loads(json.dumps(one)).items() if name != "argv"}
        for one in (written, asked)
    )
    return written == asked


def shares(cores, jobs):
    """Returns `jobs` lists of cores, each of its own, of sizes that differ by at most one.

    Raises: UserError where there is not one for each.
    """
    cores = sorted(cores)
    if not 1 <= jobs <= len(cores):
        raise UserError(f"--jobs={jobs}: there are {len(cores)} cores; give 1 to {len(cores)}")
    ends = [len(cores) * job // jobs for job in range(jobs + 1)]
    return [cores[start:end] for start, end in zip(ends, ends[1:])]


def _shares_here(jobs):
    """As `shares`, of this process' cores; with one job nothing is pinned, and that is None."""
    if jobs == 1:
        return [None]
    if not hasattr(os, "sched_setaffinity"):
        raise UserError(
            f"--jobs={jobs}: this system cannot give a process its own cores, so that "
            "the times would mean nothing; give 1"
        )
    return shares(os.sched_getaffinity(0), jobs)


def run(cells, jobs, interruption) -> list:
    """Runs cells, `jobs` at a time; returns those that failed.

    A signal is handed on to the cells, which save their state; then Interrupted is raised.
    """
    waiting, free, running, failed = collections.deque(cells), _shares_here(jobs), {}, []
    total, done = len(waiting), 0
    try:
        while waiting or running:
            while waiting and free:
                cell, cores = waiting.popleft(), free.pop()
                running[_start(cell, jobs, cores)] = cell, cores, time.monotonic()
            for process in [process for process in running if process.poll() is not None]:
                cell, cores, start = running.pop(process)
                free.append(cores)
                done += 1
                if process.returncode or read_cell(cell) is None:
                    failed.append(cell)
                print(f"[{done}/{total}] {_outcome(cell, process.returncode, start)}", flush=True)
            interruption.check()
            time.sleep(0.1)
    finally:
        _stop(running)
    return failed


def _start(cell, jobs, cores):
    os.makedirs(cell.folder, exist_ok=True)
    about = {"row": cell.row, "seed": cell.seed, "jobs": jobs, "asked": cell.asked}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    before = None
    if cores is not None:
        # A process gets the affinity of the thread that starts it, before TensorFlow asks for it.
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            environment[name] = str(len(cores))
    try:
        with open(os.path.join(cell.folder, "cell.log"), "w", encoding="utf-8") as log:
            # A session of its own: Ctrl-C comes once, from us, and not from the terminal as well.
            return subprocess.Popen(
                [sys.executable, "-m", "benchmarks.study.cell", cell.folder, json.dumps(about)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    finally:
        if before is not None:
            os.sched_setaffinity(0, before)


def _stop(running):
    """Has the cells that still run save their state and end; waits for them."""
    for process in running:
        process.terminate()
    for process in running:
        process.wait()


def _outcome(cell, status, start):
    name = f"{cell.row}, seed {cell.seed}"
    log = os.path.join(cell.folder, "cell.log")
    if status == 0:
        return f"{name}: done in {time.monotonic() - start:.0f} s"
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return f"{name}: FAILED with status {status}: {lines[-1] if lines else 'no output'}; see {log}"
