"""Our attacks beside those of other libraries, on the same network, images and settings.

    python -m pip install -r requirements-peers.txt    # Python 3.11, in an environment of its own
    python -m benchmarks.peers foolbox art             # on the run that `python main.py` leaves
    python -m benchmarks.peers torchattacks --epsilon 0.2 0.1 --saved_model=downloads/model

Every pair of attacks is compared image by image: broken by both, by one of them, by neither.  What
an attack returns is judged here, by the same network, whatever the attack says of it.  Images that
are misclassified as they are count as broken by both.

`agreement` counts and writes tables, `setting` says what both sides are to do, `ours` does it, and
so do `foolbox_attacks`, `art_attacks` and `torch_attacks`; where one of these differs by design,
its docstring says how.
"""
