"""The command line of the studies; see the package's docstring."""

import argparse
import os
import pathlib
import shlex
import sys

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import benchmarks.study as package  # noqa: E402
from benchmarks.study import grids, plots, report, schedule  # noqa: E402
from sat_tf.errors import UserError  # noqa: E402
from sat_tf.interruption import Interrupted, Interruption  # noqa: E402


def parse(argv):
    """Returns (arguments, flags of main.py for all cells)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study",
        allow_abbrev=False,
        epilog=_studies(),
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=tuple(grids.STUDIES), help="the study")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 0 1 2")
    parser.add_argument(
        "--rows",
        nargs="+",
        help="some rows only, of which the first is the one "
        "that the others are compared with; the results then need a --label, or "
        "flags of main.py. Default: all",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="cells side by side, each on its share "
        "of the cores (a small network does not fill two); each is slower then, but "
        "the cost in processor time stays. Default: 1, with all cores",
    )
    parser.add_argument(
        "--runs",
        help="folder of the cells' folders. Default: runs/study/NAME, "
        "with _LABEL where there is one",
    )
    parser.add_argument(
        "--results",
        default=str(schedule.ROOT / "benchmarks" / "results"),
        help="folder of the CSV and the Markdown. Default: %(default)s",
    )
    parser.add_argument(
        "--plots",
        default=str(schedule.ROOT / "docs" / "images"),
        help="folder of the plots. Default: %(default)s",
    )
    parser.add_argument(
        "--label",
        help="goes into the names of the results. Default: none; with flags of main.py, those",
    )
    return parser.parse_known_args(argv)


def _studies():
    lines = []
    for name, study in grids.STUDIES.items():
        lines += [f"{name}: {study.about}", f"  all rows: {' '.join(study.common)}"]
        lines += [
            f"  {label}: {' '.join(flags) or 'nothing else'}" for label, flags in study.rows.items()
        ]
    return "\n".join(lines)


def _check_seeds(seeds):
    for seed in seeds:
        if seeds.count(seed) > 1 or not 0 <= seed < 2**31:
            raise UserError(
                f"--seeds {' '.join(map(str, seeds))}: give different integers of at least 0"
            )


def _file_name(name, arguments, extra):
    label = grids.label_of(extra) if arguments.label is None else grids.slug(arguments.label)
    fewer = not set(arguments.seeds or grids.STUDIES[name].seeds) >= set(grids.STUDIES[name].seeds)
    if not label and (extra or arguments.rows or fewer):
        what = (
            f"flags of main.py ({' '.join(extra)})"
            if extra
            else "some of the rows only"
            if arguments.rows
            else "fewer seeds than declared"
        )
        raise UserError(
            f"--label={arguments.label or ''}: with {what} the results need a name of "
            "their own; give one"
        )
    return f"{name}_{label}" if label else name


def run_study(study, name, arguments, extra) -> int:
    """Runs what is to be run and reports what there is; returns 1 if a cell failed, else 0."""
    grids.check_extra(extra)
    study = grids.with_rows(study, arguments.rows)
    if arguments.seeds is not None:
        _check_seeds(arguments.seeds)
        study = study._replace(seeds=tuple(arguments.seeds))
    name = _file_name(name, arguments, extra)
    runs = arguments.runs or os.path.join("runs", "study", name)
    cells = grids.cells(study, study.seeds, runs, extra)
    waiting = [cell for cell in cells if schedule.read_cell(cell) is None]
    print(f"{len(cells)} cells, {len(cells) - len(waiting)} of them finished before", flush=True)
    with Interruption() as interruption:
        failed = schedule.run(waiting, arguments.jobs, interruption)
    written = [found for found in map(schedule.read_cell, cells) if found]
    if written:
        _report(study, f"study_{name}", arguments, extra, written)
    if failed:
        print(
            f"error: {len(failed)} of {len(cells)} cells failed: "
            f"{', '.join(f'{cell.row} seed {cell.seed}' for cell in failed)}; the same command "
            "tries them again",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _report(study, name, arguments, extra, written):
    plotted = plots.write(study, name, written, arguments.plots)
    relative = [
        pathlib.PurePath(os.path.relpath(path, arguments.results)).as_posix() for path in plotted
    ]
    reported = report.write(
        study, name, _command(arguments, extra), written, arguments.results, relative
    )
    for path in [*reported, *plotted]:
        print(f"wrote {path}")


def _command(arguments, extra):
    """Returns the command line, less what changes no number: --jobs and the folders."""
    words = [arguments.name]
    for name in ("seeds", "rows"):
        values = getattr(arguments, name)
        words += [f"--{name}", *map(str, values)] if values is not None else []
    words += [f"--label={arguments.label}"] if arguments.label is not None else []
    return "python -m benchmarks.study " + shlex.join([*words, *extra])


def main(argv=None) -> int:
    """Returns the exit status: 0, 1 where a cell failed, 2 for what the user can mend."""
    arguments, extra = parse(argv)
    try:
        return run_study(grids.STUDIES[arguments.name], arguments.name, arguments, extra)
    except Interrupted as interrupted:
        return 128 + interrupted.signum
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
