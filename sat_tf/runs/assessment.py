"""What a run says of its network at the end: accuracies that were checked, curves, files, a page.

assessment = Assessment(config, measurement, folder, interruption, network)
result, findings = assessment.accuracies(fingerprint)
assessment.write_adversarial(result)
rows = assessment.curves(fingerprint)
"""

import contextlib
import hashlib
import os
import sys

import numpy as np
import tqdm

from sat_tf.evaluation import StateFile, checks
from sat_tf.reports import adversarial_files, curves, page, summaries
from sat_tf.runs.measurement import exhibits

_QUIET_SECONDS = 30  # between two lines where no terminal shows a bar


class Assessment:
    """Measures a run's network and writes what was found, but for results.json, into its folder.

    What takes long goes on where it was cut: each evaluation has a file in the folder's
    `evaluation_state`, which `forget` removes in the end.

    Args:
      config: the run's Config.
      measurement: its Measurement.
      folder: its RunFolder.
      interruption: an Interruption, checked between the batches.
      network: what is measured, see `networks`.
    """

    def __init__(self, config, measurement, folder, interruption, network):
        self._config, self._measurement, self._folder = config, measurement, folder
        self._interruption, self._network = interruption, network
        self._states = []

    def accuracies(self, fingerprint):
        """Checks the network, attacks it and checks the outcomes.

        Args:
          fingerprint: text that is another one for other weights.
        Returns: an `evaluation.Result` and the list of `checks.Finding`.
        Raises: NotTrustworthy where there is no number to print.
        """
        findings = self._measurement.examine()
        with _Bars() as bars:
            result = self._measurement.accuracies(
                on_batch=self._telling(bars), state=self._state(fingerprint)
            )
        return result, checks.first_of_each([*findings, *self._measurement.review(result)])

    def curves(self, fingerprint):
        """Measures the curves that are asked for, and writes curves.csv and curves.png."""
        rows = []
        for kind in self._config.evaluation.curves:
            with _Bars() as bars:
                rows += self._measurement.curve(
                    kind, on_batch=self._telling(bars), state=self._state(f"{fingerprint} {kind}")
                )
        if rows:
            with self._folder.writing("the curves"):
                curves.write_csv(self._folder.curves, rows)
                curves.write_plot(self._folder.curves_plot, rows, norm=self._config.evaluation.norm)
        return rows

    def write_adversarial(self, result):
        """Writes the first examples with what the strongest attack made of them, if asked for."""
        count = min(self._config.evaluation.save_adversarial, result.examples)
        if not count or list(result.correct) == ["clean"]:
            return
        shown, adversarial, predicted = result.strongest(count)
        examples = dict(
            images=result.images[:count],
            adversarial=adversarial,
            labels=result.labels[:count],
            predicted=result.outcomes["clean"].predicted[:count],
            adversarial_predicted=predicted,
        )
        with self._folder.writing("the adversarial examples"):
            adversarial_files.save(
                self._folder.adversarial, indices=np.arange(count), broken_by=shown, **examples
            )
            adversarial_files.write_contact_sheet(
                self._folder.adversarial_sheet, class_names=self._network.class_names, **examples
            )

    def forget(self):
        """Removes what was kept to go on from; what other evaluations have kept stays."""
        with self._folder.writing("evaluation_state"):
            for state in self._states:
                state.remove()
            with contextlib.suppress(OSError):  # not empty, or never made
                os.rmdir(self._folder.evaluation_state)

    def write_report(self, result, curve_rows):
        """Writes report.html, of the folder's files.

        Args:
          result: an `evaluation.Result`, for the images.
          curve_rows: what `curves` returned; a file of them may be of an earlier evaluation.
        """
        shown = exhibits(result)
        with self._folder.writing("report.html"):
            found = self._folder.contents(curve_rows)
            # The settings are those of this evaluation, not those that the run was begun with.
            found["config"] = {**(found["config"] or {}), **self._network.shown(self._config)}
            page.write(
                self._folder.report,
                **found,
                exhibits=(shown and summaries.render_grid(*shown, self._network.class_names)),
            )

    def _state(self, fingerprint):
        with self._folder.writing("evaluation_state"):
            os.makedirs(self._folder.evaluation_state, exist_ok=True)
        name = hashlib.sha256(fingerprint.encode()).hexdigest()[:16]
        state = StateFile(
            os.path.join(self._folder.evaluation_state, f"{name}.npz"),
            fingerprint,
            writing=lambda: self._folder.writing("evaluation_state"),
        )
        self._states.append(state)
        return state

    def _telling(self, bars):
        def on_batch(name, done, total):
            bars.show(name, done, total)
            self._interruption.check()

        return on_batch


class _Bars:
    """A bar for each attack, with the time that is left; a line now and then where none can be."""

    def __enter__(self):
        self._bar, self._name = None, None
        return self

    def __exit__(self, *unused):
        if self._bar is not None:
            self._bar.close()

    def show(self, name, done, total):
        if name != self._name:
            self.__exit__()
            self._name = name
            shown = sys.stderr.isatty()
            seconds = 0.2 if shown else _QUIET_SECONDS
            self._bar = tqdm.tqdm(
                desc=name,
                total=total,
                unit=" examples",
                leave=False,
                initial=done,
                file=sys.stderr if shown else _Lines(sys.stderr),
                dynamic_ncols=shown,
                delay=0 if shown else seconds,
                mininterval=seconds,
                maxinterval=max(10, seconds),
            )
        self._bar.update(done - self._bar.n)


class _Lines:
    """A stream on which each state of a bar is a line, for logs; that it is wiped out is not."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        state = text.strip()
        if state:
            self._stream.write(f"{state}\n")

    def flush(self):
        self._stream.flush()
