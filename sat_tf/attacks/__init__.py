"""Attacks by name, as evaluation asks for them.

    attack = create("pgd-20", epsilon=4 / 255)              # N steps; pgd-50x10 has 10 restarts
    adversarial = attack(logits_fn, images, labels, seed)   # float32 images in [0, 1]

An attack is a function of (logits_fn, images, labels, seed); see `pgd` for their shapes.  Those of
the table are `Search`es as well, or an `Ensemble` of them, which evaluation can stop and resume
example by example.  With create(..., targeted=True) labels are the classes to reach, and with
bounds=(0, 255) pixels and epsilon are on that scale.
"""

from sat_tf.attacks.apgd import apgd, apgd_search
from sat_tf.attacks.arguments import checked_labels, checked_logits, class_indices, logits_of
from sat_tf.attacks.criteria import CRITERIA
from sat_tf.attacks.draws import as_seed
from sat_tf.attacks.ensemble import Ensemble
from sat_tf.attacks.fab import fab, fab_search
from sat_tf.attacks.fgsm import fgsm
from sat_tf.attacks.gradients import loss_gradient
from sat_tf.attacks.held import check_function, held_to, needs_epsilon
from sat_tf.attacks.losses import cross_entropy, kl_divergence, margin
from sat_tf.attacks.pgd import Attack, LogitsFn, ascend, default_step_size, pgd, pgd_search
from sat_tf.attacks.search import COMPILED_FORMS, Search, compiled_form, judge
from sat_tf.attacks.square import square, square_search
from sat_tf.attacks.table import (
    ATTACKS,
    LETTERS,
    VERSIONS,
    create,
    is_of_autoattack,
    needs_gradient,
    parse_names,
    register,
    stage_names,
)
from sat_tf.attacks.threat import NORMS, ThreatModel, images_within

__all__ = [
    "ATTACKS",
    "Attack",
    "COMPILED_FORMS",
    "CRITERIA",
    "Ensemble",
    "LETTERS",
    "LogitsFn",
    "NORMS",
    "Search",
    "ThreatModel",
    "VERSIONS",
    "apgd",
    "apgd_search",
    "as_seed",
    "ascend",
    "check_function",
    "checked_labels",
    "checked_logits",
    "class_indices",
    "compiled_form",
    "create",
    "cross_entropy",
    "default_step_size",
    "fab",
    "fab_search",
    "fgsm",
    "held_to",
    "images_within",
    "is_of_autoattack",
    "judge",
    "kl_divergence",
    "logits_of",
    "loss_gradient",
    "margin",
    "needs_epsilon",
    "needs_gradient",
    "parse_names",
    "pgd",
    "pgd_search",
    "register",
    "square",
    "square_search",
    "stage_names",
]
