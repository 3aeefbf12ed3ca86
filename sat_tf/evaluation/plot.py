"""A chart of what an evaluation counted.

    figure = draw(result)
    figure.savefig("accuracies.png")

It is drawn without pyplot, whose state would outlive the call.
"""

import math

_Z = 1.959964  # two-sided 95 % of a normal distribution


def draw(result):
    """Returns a matplotlib Figure: a bar for the clean accuracy, each attack and the worst case.

    Beside each bar stand its per cent and its count; the whisker is `interval`.

    Args:
      result: an `evaluation.Result`.
    """
    from matplotlib.figure import Figure

    counts = dict(result.correct)
    if len(counts) > 2:
        counts["worst case"] = round(result.worst_case_accuracy * result.examples)
    shares = [100 * count / result.examples for count in counts.values()]
    ends = [interval(count, result.examples) for count in counts.values()]
    whiskers = [
        [share - 100 * low for share, (low, _) in zip(shares, ends)],
        [100 * high - share for share, (_, high) in zip(shares, ends)],
    ]
    figure = Figure(figsize=(6.4, 1.2 + 0.4 * len(counts)), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(counts), shares, xerr=whiskers, color="#0969da", ecolor="#24292f", capsize=3)
    for place, (count, (_, high)) in enumerate(zip(counts.values(), ends)):
        share = 100 * count / result.examples
        text = f"{share:.2f} % ({count} of {result.examples})"
        axes.text(100 * high + 1, place, text, va="center", fontsize=9)
    axes.invert_yaxis()  # the clean accuracy on top, as in the table
    axes.set_xlim(0, 145)  # room for the texts
    axes.set_xticks(range(0, 101, 20))
    axes.xaxis.set_major_formatter("{x:.0f} %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_title(result), loc="left", fontsize=11)
    return figure


def interval(count, examples):
    """Returns (low, high), the 95 % interval of a share of which `count` of `examples` were seen.

    It says what other examples of the same kind may give, not what stronger attacks may.
    Reference: Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953.
    """
    share = count / examples
    scale = 1 + _Z**2 / examples
    centre = (share + _Z**2 / (2 * examples)) / scale
    reach = _Z * math.sqrt(share * (1 - share) / examples + _Z**2 / (4 * examples**2)) / scale
    return min(share, max(0.0, centre - reach)), max(share, min(1.0, centre + reach))


def _title(result):
    if result.epsilon is None:
        return "Accuracy"
    return f"Accuracy, {result.norm.capitalize()} epsilon {result.epsilon:.4g}"
