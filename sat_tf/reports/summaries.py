"""What a run shows in TensorBoard: scalars, its configuration, and pictures of the attack.

with events.create_writer("runs/mine", "train") as writer:
  write_scalars(writer, {"loss": 0.7}, step=100)
  write_grid(writer, clean, adversarial, clean_predictions, adversarial_predictions,
             labels, class_names, step=100)
"""

import numpy as np
import tensorflow as tf

from sat_tf.reports.letters import shortened
from sat_tf.reports.plots import RIGHT, WRONG, greyed

MAX_ROWS = 8
GRID = "adversarial_examples"


def write_scalars(writer, values, step):
    """Writes {path-like name: number}, such as `robust_accuracy/pgd_10`, and flushes."""
    with writer.as_default(step=int(step)):
        for name, value in values.items():
            tf.summary.scalar(name, value)
    writer.flush()


def accuracies(result):
    """Returns the scalars of an `evaluation.Result`.

    `clean_accuracy`, `adversarial_accuracy` under all attacks, as training has them too, and
    `robust_accuracy/pgd_10` under each; an attack under another derivative is below the attack:
    `robust_accuracy/pgd_10/parametric_softplus`.
    """
    scalars = {"clean_accuracy": result.clean_accuracy}
    if result.robust_accuracy:
        scalars["adversarial_accuracy"] = result.worst_case_accuracy
    for name, accuracy in result.robust_accuracy.items():
        scalars[f"robust_accuracy/{name.replace('-', '_').replace(':', '/')}"] = accuracy
    return scalars


def write_histograms(writer, values, step):
    """Writes {path-like name: array} as histograms, and flushes."""
    with writer.as_default(step=int(step)):
        for name, value in values.items():
            tf.summary.histogram(name, value)
    writer.flush()


def write_graph(writer, graph):
    """Writes a tf.Graph, and flushes."""
    with writer.as_default():
        tf.summary.graph(graph)
    writer.flush()


def write_note(writer, name, text, step):
    """Writes a text under `name` at `step`, and flushes."""
    with writer.as_default(step=int(step)):
        tf.summary.text(name, text)
    writer.flush()


def write_config(writer, config_json):
    """Writes the configuration, a JSON text, as a Markdown code block at step 0, and flushes."""
    with writer.as_default(step=0):
        tf.summary.text("config", f"```json\n{config_json}\n```")
    writer.flush()


def write_grid(
    writer,
    clean,
    adversarial,
    clean_predictions,
    adversarial_predictions,
    labels,
    class_names,
    step,
    *,
    attack="",
):
    """Writes `render_grid` of the first MAX_ROWS examples as one picture, and flushes."""
    grid = render_grid(
        clean,
        adversarial,
        clean_predictions,
        adversarial_predictions,
        labels,
        class_names,
        attack=attack,
    )
    with writer.as_default(step=int(step)):
        tf.summary.image(GRID, grid[np.newaxis])
    writer.flush()


def render_grid(
    clean,
    adversarial,
    clean_predictions,
    adversarial_predictions,
    labels,
    class_names,
    *,
    attack="",
):
    """Draws a row an example: the clean image, the adversarial one, and what has changed.

    The difference is magnified as far as the largest one in the picture allows, by a whole
    factor that stands above the column, around the middle grey that means no change.  A
    prediction is ticked and green where it is right, crossed and red where it is wrong.  Where the
    clean images are grey, so are the others: the mean of their channels is drawn.

    Args:
      clean, adversarial: float32 [N, H, W, 3] in [0, 1], N >= 1; the first MAX_ROWS are drawn.
      clean_predictions, adversarial_predictions, labels: integer [N].
      class_names: names in label order, or (); a class without one is given by its index.
      attack: what the adversarial images were made by, for the heading of their column.
    Returns: uint8 [height, width, 3].
    """
    # Not pyplot: its global state would outlive the call, and pick a backend for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = (clean, adversarial, clean_predictions, adversarial_predictions, labels)
    clean, adversarial, *classes = (np.asarray(column)[:MAX_ROWS] for column in columns)
    clean, adversarial = greyed(clean, adversarial)
    difference, factor = _magnified(clean, adversarial)
    rows = len(clean)
    # Small images show their pixels as sharp squares; large ones are reduced without moiré.
    interpolation = "nearest" if clean.shape[1] <= 128 else "antialiased"
    side, gap, text = 1.8, 0.2, 0.3  # inches
    width, height = text + 3 * (side + gap), 2 * text + rows * (side + text)
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(
        rows,
        3,
        squeeze=False,
        gridspec_kw=dict(
            left=text / width,
            right=1 - gap / width,
            wspace=gap / side,
            bottom=text / height,
            top=1 - 2 * text / height,
            hspace=text / side,
        ),
    )
    for row, pictures, (before, after, truth) in zip(
        axes, zip(clean, adversarial, difference), zip(*classes)
    ):
        for place, picture in zip(row, pictures):
            place.imshow(np.clip(picture, 0, 1), interpolation=interpolation)
            place.set(xticks=[], yticks=[])
        for place, prediction in zip(row, (before, after)):
            mark, color = RIGHT if prediction == truth else WRONG
            place.set_xlabel(
                f"predicted {shortened(prediction, class_names)} {mark}",
                color=color,
                fontsize="small",
                parse_math=False,
            )
        row[0].set_ylabel(f"true {shortened(truth, class_names)}", parse_math=False)
    titles = (
        "clean",
        f"adversarial\n({attack})" if attack else "adversarial",
        f"difference × {factor}\n(grey: no change)",
    )
    for place, title in zip(axes[0], titles):
        place.set_title(title, fontsize="medium")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _magnified(clean, adversarial):
    """Returns the difference around 0.5, stretched to fit [0, 1], and the factor used."""
    difference = np.float32(adversarial) - np.float32(clean)
    largest = np.abs(difference).max()
    factor = max(1, int(0.5 / largest + 1e-3)) if largest > 0 else 1  # float32 0.1 too gives 5
    return 0.5 + factor * difference, factor
