"""Networks as SavedModels: ours on their way out, and anybody's on their way in.

from sat_tf import saved_models
saved_models.export(classifier, "saved_model", image_size=32)
saved = saved_models.load("saved_model")
logits = saved.logits_fn(images)          # float32 [N, H, W, 3] in [0, 1] -> float32 [N, C]
"""

from sat_tf.saved_models.export import export, recover
from sat_tf.saved_models.loading import INPUT_RANGES, SavedClassifier, load
from sat_tf.saved_models.surrogate import aligned, check_surrogate

__all__ = [
    "INPUT_RANGES",
    "SavedClassifier",
    "aligned",
    "check_surrogate",
    "export",
    "load",
    "recover",
]
