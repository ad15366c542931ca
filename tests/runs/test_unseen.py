"""Keys that a ledger can't have."""

import hashlib

from mipro.runs._unseen import Unseen

KEYS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000)]


def test_what_was_noted_is_never_unseen():
    """A call that was answered is always found."""
    unseen = Unseen()
    for key in KEYS[::2]:
        unseen.note(key)
    assert not any(key in unseen for key in KEYS[::2])


def test_most_others_are():
    """The database is seldom asked in vain."""
    unseen = Unseen()
    for key in KEYS[::2]:
        unseen.note(key)
    assert sum(key in unseen for key in KEYS[1::2]) > 0.99 * len(KEYS[1::2])
