"""Compares our attacks with those of another library, and writes what came of it.

In benchmarks/results/peers.json, rows of the same attack and radius are replaced; the others are
left, but for those of the same library on another model.
"""

import argparse
import json
import operator
import pathlib
import platform
import sys

import numpy as np
import tensorflow as tf

import sat_tf  # noqa: F401  (chooses Keras 2)
from benchmarks.peers import agreement, ours
from benchmarks.peers.setting import L2_EPSILON, LINF_EPSILON, settings
from sat_tf import data, saved_models
from sat_tf.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "peers.json"
PEERS = ("foolbox", "art", "torchattacks")
STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")  # AutoAttack, in its order
_ALGORITHMS = tuple(dict.fromkeys(setting.algorithm for setting in settings("linf", LINF_EPSILON)))


def peer_module(name):
    """Returns the module of a peer.

    Raises: SystemExit where its library is not installed.
    """
    try:
        if name == "foolbox":
            from benchmarks.peers import foolbox_attacks as module
        elif name == "art":
            from benchmarks.peers import art_attacks as module
        else:
            from benchmarks.peers import torch_attacks as module
    except ImportError as error:
        sys.exit(f"error: {name}: {error}; see requirements-peers.txt for how to install it")
    return module


def compared(peer, logits_fn, images, labels, wanted):
    """Yields the rows of Settings that the peer has too; arguments as for `agreement.judged`."""
    wanted = [setting for setting in wanted if peer.offers(setting) or _stages(peer, setting)]
    mine = ours.run(logits_fn, images, labels, wanted)
    pairs = {}
    for setting in wanted:
        if peer.offers(setting):
            found = peer.run(
                logits_fn,
                agreement.repeated(images, setting),
                agreement.repeated(labels, setting),
                setting,
            )
            theirs = agreement.judged(logits_fn, images, labels, found, setting)
            pairs[setting.algorithm] = mine[setting], theirs
            yield agreement.compare(setting, mine[setting], theirs)
        else:
            yield from agreement.after_each(
                setting, {stage: pairs[stage] for stage in _stages(peer, setting)}
            )


def _stages(peer, setting):
    """Returns AutoAttack's stages for it, where the peer has each of them but no ensemble."""
    has_all = setting.algorithm == "autoattack" and set(STANDARD) <= set(peer.ATTACKS)
    return STANDARD if has_all else ()


def _parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="+", choices=PEERS, metavar="peer", help=", ".join(PEERS))
    parser.add_argument(
        "--saved_model",
        default="runs/resnet20-swish-digits-pgd/saved_model",
        help="a classifier of the digits. Default: that of `python main.py`",
    )
    parser.add_argument(
        "--epsilon",
        type=float,
        nargs="*",
        default=[LINF_EPSILON],
        help=f"L-infinity radii in [0, 1] pixel units. Default: {LINF_EPSILON}",
    )
    parser.add_argument(
        "--l2_epsilon",
        type=float,
        nargs="*",
        default=[L2_EPSILON],
        help=f"L2 radii. Default: {L2_EPSILON}",
    )
    parser.add_argument(
        "--attacks",
        nargs="+",
        choices=_ALGORITHMS,
        default=_ALGORITHMS,
        metavar="attack",
        help=f"some of {', '.join(_ALGORITHMS)}. Default: all",
    )
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS, help="the JSON file")
    return parser.parse_args()


def main():
    arguments = _parsed()
    peers = [peer_module(name) for name in arguments.peers]
    try:
        saved = saved_models.load(arguments.saved_model)
    except UserError as error:
        sys.exit(f"error: {error}")
    test = data.load("digits").eval
    images, labels = np.float32(test.images / 255), test.labels
    radii = [("linf", epsilon) for epsilon in arguments.epsilon] + [
        ("l2", epsilon) for epsilon in arguments.l2_epsilon
    ]
    for peer in peers:
        rows = []
        for norm, epsilon in radii:
            wanted = [
                setting
                for setting in settings(norm, epsilon)
                if setting.algorithm in arguments.attacks
            ]
            for row in compared(peer, saved.logits_fn, images, labels, wanted):
                print(json.dumps(row), file=sys.stderr, flush=True)
                rows.append(row)
        _write(
            arguments.output,
            peer.NAME,
            {
                "versions": {
                    peer.NAME: peer.VERSION,
                    "tensorflow": tf.__version__,
                    "numpy": np.__version__,
                    "python": platform.python_version(),
                },
                "saved_model": arguments.saved_model,
                "fingerprint": saved.fingerprint,
                "images": "digits, test part",
            },
            rows,
        )
        print(f"{peer.NAME} {peer.VERSION}\n\n{agreement.markdown(rows)}\n", flush=True)


def _write(path, name, about, rows):
    """Puts a library's rows into the file."""
    parts = json.loads(path.read_text()) if path.exists() else {}
    there = parts.get(name, {})
    if all(there.get(key) == value for key, value in about.items()):
        key = operator.itemgetter("attack", "norm", "epsilon")
        new = {key(row): row for row in rows}
        old = {key(row): row for row in there["rows"]}
        rows = list({**old, **new}.values())
    parts[name] = {**about, "rows": rows}
    path.write_text(json.dumps(dict(sorted(parts.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
