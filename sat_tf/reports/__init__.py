"""What a run shows: results as a dictionary, the page, curves, pictures, TensorBoard.

    from sat_tf import reports
    reports.page.write("report.html", config=config, results=results)

Everything here is given dictionaries and arrays, and knows of no run and no network.
"""

from sat_tf.reports import (
    adversarial_files,
    curves,
    events,
    hparams,
    page,
    plots,
    results,
    summaries,
)

__all__ = [
    "adversarial_files",
    "curves",
    "events",
    "hparams",
    "page",
    "plots",
    "results",
    "summaries",
]
