"""Line charts of accuracy and loss, and what all our pictures have in common.

    panel = Panel("Robust accuracy", "attack steps", lines, percent=True, scale="log")
    picture = draw([panel])                         # uint8 [height, width, 3]
    png = png_bytes(draw([panel], theme=DARK))

Figures are drawn without pyplot: its global state would outlive the call, and pick a backend for a
screen.
"""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sat_tf.reports.letters import drawable

RIGHT, WRONG = ("✓", "#1a7f37"), ("✗", "#c62828")  # mark and colour of a prediction
_INCHES = (4.4, 3.1)
_DOTS = 192  # to the inch: twice a page's pixels, for screens that have them


class Theme(NamedTuple):
    """Colours of a chart: its ground, its text, its grid, and its lines in order."""

    ground: str
    text: str
    grid: str
    lines: Sequence[str]


# The lines' colours have a contrast of 3 and more with the ground, and differ to the colour-blind.
LIGHT = Theme(
    "#ffffff",
    "#24292f",
    "#d8dee4",
    ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#57606a", "#9a6700", "#0e7490"),
)
DARK = Theme(
    "#161b22",
    "#e6edf3",
    "#30363d",
    ("#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#f778ba", "#8b949e", "#d29922", "#39c5cf"),
)
_MARKERS = "osD^vPX*"


class Line(NamedTuple):
    """One line of a chart: its name, its points, and whether it is what others are held against."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    reference: bool = False


class Panel(NamedTuple):
    """One chart.

    Attributes:
      title, x_label: texts; the title may be empty, where the page around it has one.
      lines: its Lines.
      percent: whether `y` are fractions, to be shown from 0 to 100 per cent.
      scale: of the x axis, "linear" or "log".
      ticks: the values marked on the x axis, or None to choose them by their range.
      whole_x: whether only whole numbers are marked on the x axis, where there are no `ticks`.
      in_255ths: whether a second x axis above gives an x of 8 / 255 as 8/255.
    """

    title: str
    x_label: str
    lines: Sequence[Line]
    percent: bool = False
    scale: str = "linear"
    ticks: Sequence[float] | None = None
    whole_x: bool = False
    in_255ths: bool = False


def draw(panels, *, theme=LIGHT):
    """Draws charts side by side.

    Args:
      panels: Panels, at least one.
      theme: LIGHT or DARK.
    Returns: uint8 [height, width, 3], twice as large as a page would show it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(_INCHES[0] * len(panels), _INCHES[1]),
        dpi=_DOTS,
        facecolor=theme.ground,
        layout="constrained",
    )
    canvas = FigureCanvasAgg(figure)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        _style(axes, theme)
        _draw_lines(axes, panel, theme)
        _label(axes, panel, theme)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _style(axes, theme):
    axes.set_facecolor(theme.ground)
    axes.grid(color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.text, labelsize=10, length=3)
    for name, spine in axes.spines.items():
        spine.set(color=theme.text, linewidth=0.8, visible=name in ("left", "bottom"))


def _draw_lines(axes, panel, theme):
    index = 0
    for line in panel.lines:
        y = np.multiply(line.y, 100.0 if panel.percent else 1.0)
        if line.reference:
            style = dict(
                color=theme.text, linestyle="--", linewidth=1.2, marker="_" if len(y) == 1 else None
            )  # one point alone would not be seen
        else:
            style = dict(
                color=theme.lines[index % len(theme.lines)],
                linewidth=1.8,
                marker=_MARKERS[index % len(_MARKERS)],
                markersize=4.5 if len(y) <= 30 else 0,
            )
            index += 1
        axes.plot(line.x, y, label="named below", **style)


def _label(axes, panel, theme):
    from matplotlib import ticker

    if panel.title:
        axes.set_title(panel.title, color=theme.text, fontsize=11, loc="left", pad=8)
    axes.set_xlabel(panel.x_label, color=theme.text, fontsize=10)
    axes.set_xscale(panel.scale)
    if panel.percent:
        axes.set_ylim(-2, 102)  # a line along 0 or 100 is seen whole
        axes.set_yticks(range(0, 101, 20))
        axes.yaxis.set_major_formatter("{x:.0f} %")
    if panel.whole_x:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=True, min_n_ticks=1))
    if panel.ticks is not None:
        axes.set_xticks(panel.ticks)
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:.4g}"))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    if panel.in_255ths:
        top = axes.secondary_xaxis("top", functions=(lambda x: x * 255, lambda x: x / 255))
        top.tick_params(colors=theme.text, labelsize=10, length=3)
        top.spines["top"].set(color=theme.text, linewidth=0.8)
        top.xaxis.set_major_locator(ticker.MaxNLocator(4, steps=[1, 2, 4, 8, 10], integer=True))
        top.xaxis.set_major_formatter("{x:.0f}/255")
    if len(panel.lines) > 1:
        legend = axes.legend(
            fontsize=9,
            facecolor=theme.ground,
            edgecolor=theme.grid,
            labelcolor=theme.text,
            framealpha=0.85,
        )
        # Not as labels: matplotlib leaves out those with a _ in front, and reads $ as formulas.
        for text, line in zip(legend.get_texts(), panel.lines):
            text.set(text=drawable(line.name), parse_math=False)


def png_bytes(picture) -> bytes:
    """Returns uint8 [height, width, 3] as a PNG file's bytes, the same for the same picture."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(stream, "png")
    return stream.getvalue()


def greyed(clean, adversarial):
    """Returns images, [N, H, W, C], as they are drawn beside each other: grey where the data is.

    An attack changes the channels of a grey image by different amounts, and the network sees that;
    drawn, it would be coloured noise on data that has no colours.  So the mean is drawn.
    """
    if clean.shape[-1] != 3 or not clean.size or np.ptp(clean, axis=-1).max() > 1e-6:
        return clean, adversarial
    mean = np.mean(adversarial, axis=-1, keepdims=True)
    return clean, np.broadcast_to(mean, adversarial.shape)
