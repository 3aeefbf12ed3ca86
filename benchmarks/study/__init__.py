"""Studies: a declared grid of runs over seeds, and what its numbers say, with their spread.

    python -m benchmarks.study activations                     # three seeds, on digits
    python -m benchmarks.study activations --jobs=2            # two cells side by side
    python -m benchmarks.study methods --seeds 0 1 2 3 4 --dataset=cifar10 --model=preact-resnet18
    python -m benchmarks.study --help                          # the studies and their rows

A study is rows (a label and flags of main.py) times seeds.  Each pair is a cell: one process that
trains as main.py would, measures clean and robust accuracy, robust accuracy at a small epsilon and
the smoothness of the loss (sat_tf/diagnostics.py), and writes `cell.json` into its folder,
which is also the run's: `main.py --mode=eval --model_dir=...` works on it.  The same command
again runs only what is not finished; a cell that was interrupted goes on from its checkpoint.

What is not an option of the study is a flag of main.py, and goes to every cell; the flags of a row
go before it.  Results of such a study get a label in their names (made of the flags, or --label),
so that those of the study as declared stay.  Written are study_NAME.csv (a line a cell),
study_NAME.md (means, spread and paired differences) and plots.

`grids` declares the studies, `cell` is the process of one cell, `schedule` runs the cells,
`numbers` and `spread` make numbers of them, `report` and `plots` write them down.
"""
