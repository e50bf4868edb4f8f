"""The user of each row, and draws for a user, which are the same in all of the user's rows.

A user is a number (uint64), computed from the seed, the split and a row's number. All draws for a
user are computed from it. So any chunk can be drawn without the others, and memory stays flat.

Legend: R rows.
"""

import math
from enum import IntEnum

import numba
import numpy as np
from numpy.typing import NDArray

from ..common.arrays import GOLDEN, hash64
from .statistics import Floats, Floats32, normal_table

Users = NDArray[np.uint64]
Indices = NDArray[np.int64]

# The real train file has 10,704,179 rows and 7,179,942 distinct sequences: 1.49 rows a user.
TRAIN_RETURNS = 1 - 7_179_942 / 10_704_179
# We only know that most of the real test users are new; these shares are invented.
TEST_RETURNS = 0.15  # of the test rows: the user of an earlier test row
TEST_FROM_TRAIN = 0.15  # of the test users: users of the train file
_TRAIN, _TEST, _STRANGERS = 0, 1, 2


# What is drawn for a user, each with a random number of its own.
Draw = IntEnum("Draw", "RETURNS EARLIER FROM_TRAIN GENDER AGE_GROUP MISSING EVENTS CLICKS NUMBERS")


def bits(users: Users, draw: Draw) -> NDArray[np.uint64]:
    """64 random bits for each row, [R], as for all draws here."""
    # An array, since it wraps around without a warning.
    return hash64(users + np.array([draw], dtype=np.uint64) * GOLDEN)


def uniform(users: Users, draw: Draw) -> Floats:
    """Random numbers in [0, 1)."""
    return np.float64(2.0**-53) * (bits(users, draw) >> np.uint64(11)).astype(np.float64)


def normal(users: Users, draw: Draw) -> Floats:
    """Standard normal numbers."""
    number, share = normal_table()
    return np.interp(uniform(users, draw), share, number)


def normals(users: Users, count: int) -> Floats32:
    """`count` standard normal numbers of each user, [count, R], by the method of Box and Muller."""
    drawn = np.empty((count + count % 2, len(users)), dtype=np.float32)
    _fill_normals(bits(users, Draw.NUMBERS), drawn)
    return drawn[:count]


@numba.njit(nogil=True)
def _fill_normals(state: Users, drawn: Floats32) -> None:
    for row in range(len(state)):
        number = state[row]
        for place in range(0, len(drawn), 2):
            number += GOLDEN
            both = hash64(number)
            radius = math.sqrt(-2.0 * math.log(((both >> np.uint64(32)) + 0.5) * 2.0**-32))
            angle = 2.0 * math.pi * (both & np.uint64(0xFFFFFFFF)) * 2.0**-32
            drawn[place, row] = radius * math.cos(angle)
            drawn[place + 1, row] = radius * math.sin(angle)


def train_users(seed: int, row: Indices) -> Users:
    """The users of these train rows."""
    return _returning(seed, _TRAIN, row, TRAIN_RETURNS)


def test_users(seed: int, row: Indices, train_rows: int) -> Users:
    """The users of these test rows; some are users of the `train_rows` train rows."""
    users = _returning(seed, _TEST, row, TEST_RETURNS)
    known = (uniform(users, Draw.FROM_TRAIN) < TEST_FROM_TRAIN) & (train_rows > 0)
    users[known] = train_users(seed, _earlier(np.full(known.sum(), train_rows), users[known]))
    return users


def strangers(seed: int, rows: int) -> Users:
    """`rows` different users, for samples that are in no file."""
    return _returning(seed, _STRANGERS, np.arange(rows), 0.0)


def _returning(seed: int, split: int, row: Indices, returns: float) -> Users:
    """The users of these rows of a split, [R].

    A row has a new user with probability 1 - `returns`, else the user of an earlier row, who may
    have returned, too.
    """
    start = np.random.SeedSequence([seed, split]).generate_state(1, np.uint64)[0]
    users = hash64(start + row.astype(np.uint64) * GOLDEN)
    again = (uniform(users, Draw.RETURNS) < returns) & (row > 0)
    if again.any():
        earlier = _earlier(row[again], users[again])
        users[again] = _returning(seed, split, earlier, returns)
    return users


def _earlier(before: Indices, users: Users) -> Indices:
    """A row below each of `before`, [R], more often a recent one, since users soon return."""
    row = (before * np.sqrt(uniform(users, Draw.EARLIER))).astype(np.int64)
    return np.minimum(row, before - 1)
