"""What a run says of its network at the end: accuracies that were checked, curves, files, a page.

assessment = Assessment(config, measurement, folder, interruption, network)
result, findings = assessment.accuracies(fingerprint)
assessment.write_adversarial(result)
rows = assessment.curves(fingerprint)
"""

import contextlib
import hashlib
import os

import numpy as np

from sat_tf.evaluation import StateFile, checks
from sat_tf.reports import adversarial_files, curves, page, summaries
from sat_tf.runs import contents
from sat_tf.runs.measurement import exhibited_attack, exhibits
from sat_tf.runs.telling import AttackBars, phase

_ENDING = "ending after the attack steps under way; what is measured is kept"


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
        with phase("checking the network"):
            findings = self._measurement.examine()
        with self._telling() as told:
            result = self._measurement.accuracies(state=self._state(fingerprint), **told)
        with phase("checking what the attacks have found"):
            findings += self._measurement.review(result)
        return result, checks.first_of_each(findings)

    def curves(self, fingerprint):
        """Measures the curves that are asked for, and writes curves.csv and curves.png."""
        rows = []
        for kind in self._config.evaluation.curves:
            with self._telling() as told:
                rows += self._measurement.curve(
                    kind, state=self._state(f"{fingerprint} {kind}"), **told
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
            found = contents.of(self._folder, curve_rows)
            # The settings are those of this evaluation, not those that the run was begun with.
            found["config"] = {**(found["config"] or {}), **self._network.shown(self._config)}
            page.write(
                self._folder.report,
                **found,
                exhibits=(
                    shown
                    and summaries.render_grid(
                        *shown, self._network.class_names, attack=exhibited_attack(result)
                    )
                ),
                exhibited=exhibited_attack(result),
            )

    def _state(self, fingerprint):
        """Returns where an evaluation is kept to go on from; that of several workers is not."""
        if self._measurement.has_other_workers:
            return None
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

    @contextlib.contextmanager
    def _telling(self):
        """Yields what an evaluation is to call while it goes on, for a block."""

        def on_batch(*state):
            bars.show(*state)
            self._interruption.check()

        with (
            self._interruption.doing(
                lambda: "ending after the attack steps under way; what is measured is kept"
            ),
            AttackBars(self._config.data.eval_examples) as bars,
        ):
            yield {"on_batch": on_batch, "on_work": bars.count}
