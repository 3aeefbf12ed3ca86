"""Our attacks and those of other libraries on one exported network, at equal settings.

Without requirements-peers.txt these are left out; with it: python -m pytest tests/peers
"""

import pytest

_WHY = "compares with other libraries: python -m pip install -r requirements-peers.txt"
pytest.importorskip("foolbox", reason=_WHY, exc_type=ImportError)
pytest.importorskip("art", reason=_WHY, exc_type=ImportError)

from benchmarks.peers import agreement, art_attacks, foolbox_attacks, ours  # noqa: E402
from benchmarks.peers.setting import settings  # noqa: E402

EPSILONS = {"linf": 0.1, "l2": 1.0}


@pytest.fixture(scope="module")
def compared(logits_fn, examples, rows):
    """(peer, algorithm, norm, random_start) -> (our Side, their Side, the row)."""
    images, labels = examples
    mine = {
        norm: ours.run(
            logits_fn,
            images,
            labels,
            [
                setting
                for setting in settings(norm, epsilon)
                if setting.algorithm in {**foolbox_attacks.ATTACKS, **art_attacks.ATTACKS}
                and setting.algorithm != "autoattack"
            ],
        )
        for norm, epsilon in EPSILONS.items()
    }

    def compare(peer, algorithm, norm, random_start):
        ((setting, our),) = [
            (setting, side)
            for setting, side in mine[norm].items()
            if (setting.algorithm, setting.random_start) == (algorithm, random_start)
        ]
        theirs = agreement.judged(
            logits_fn,
            images,
            labels,
            peer.run(
                logits_fn,
                agreement.repeated(images, setting),
                agreement.repeated(labels, setting),
                setting,
            ),
            setting,
        )
        row = agreement.compare(setting, our, theirs, name=f"{peer.NAME}'s {setting.name}")
        rows.append(row)
        assert row["examples"] >= 512
        assert 0.1 < our.robust_accuracy < 0.9
        assert max(our.excess, theirs.excess) < agreement.ROUNDING
        return our, theirs, row

    return compare


@pytest.mark.parametrize("norm", EPSILONS)
@pytest.mark.parametrize("algorithm", ["fgsm", "pgd"])
@pytest.mark.parametrize("peer", [foolbox_attacks, art_attacks], ids=lambda peer: peer.NAME)
def test_without_chance_the_same_images_are_broken(compared, peer, algorithm, norm):
    ours, theirs, row = compared(peer, algorithm, norm, False)
    # An L2 step of the toolbox is clipped before it is projected, see art_attacks.
    assert _differ(row) <= (0.02 if (peer, norm) == (art_attacks, "l2") else 0.002)
    assert abs(ours.robust_accuracy - theirs.robust_accuracy) <= 0.01


@pytest.mark.parametrize("norm", EPSILONS)
@pytest.mark.parametrize("peer", [foolbox_attacks, art_attacks], ids=lambda peer: peer.NAME)
def test_from_random_starts_as_many_are_broken(compared, peer, norm):
    ours, theirs, row = compared(peer, "pgd", norm, True)
    assert row["starts"] > 1
    assert abs(ours.robust_accuracy - theirs.robust_accuracy) <= 0.01
    # They differ on images hardly more often than one side's starts do among themselves.
    assert _differ(row) <= 1.5 * max(ours.disagreement, theirs.disagreement) + 0.005


@pytest.mark.parametrize("norm", EPSILONS)
@pytest.mark.parametrize("algorithm", ["apgd-ce", "apgd-dlr"])
def test_auto_pgd_breaks_what_the_toolbox_breaks(compared, algorithm, norm):
    ours, theirs, row = compared(art_attacks, algorithm, norm, True)
    assert abs(ours.robust_accuracy - theirs.robust_accuracy) <= 0.01
    assert _differ(row) <= 0.03  # in the last iterates, see art_attacks, and by chance


def _differ(row):
    """Returns the fraction of the images that one side breaks and the other does not."""
    by = row["broken_by"]
    return (by["only_ours"] + by["only_theirs"]) / (row["starts"] * row["examples"])
