"""The user of each row, and random numbers that are equal in all rows of a user.

A user is a uint64, computed from seed, split and row number. The user's random numbers are computed
from this uint64. So any chunk of rows can be drawn independently, with bounded memory.
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
# Invented shares: we only know that most real test users are new.
TEST_RETURNS = 0.15  # share of test rows whose user is from an earlier test row
TEST_FROM_TRAIN = 0.15  # share of test users who are in the train file
_TRAIN, _TEST, _NEW_USERS = 0, 1, 2


# The draws for a user; each has an independent random number.
Draw = IntEnum("Draw", "RETURNS EARLIER FROM_TRAIN GENDER AGE_GROUP MISSING EVENTS CLICKS NUMBERS")


def random_bits(users: Users, draw: Draw) -> NDArray[np.uint64]:
    """64 random bits for each user, uint64 [rows]; `draw` says what they decide."""
    # As an array, since scalars warn of overflow.
    return hash64(users + np.array([draw], dtype=np.uint64) * GOLDEN)


def uniform(users: Users, draw: Draw) -> Floats:
    """A random number in [0, 1) for each user, [rows]; `draw` says what the number decides."""
    return np.float64(2.0**-53) * (random_bits(users, draw) >> np.uint64(11)).astype(np.float64)


def normal(users: Users, draw: Draw) -> Floats:
    """A standard normal number for each user, [rows]; `draw` says what the number decides."""
    number, share = normal_table()
    return np.interp(uniform(users, draw), share, number)


def standard_normals(users: Users, count: int) -> Floats32:
    """`count` standard normal numbers for each user, [count, rows], by the Box-Muller transform."""
    drawn = np.empty((count + count % 2, len(users)), dtype=np.float32)
    _fill_normals(random_bits(users, Draw.NUMBERS), drawn)
    return drawn[:count]


@numba.njit(nogil=True)
def _fill_normals(state: Users, drawn: Floats32) -> None:
    for row in range(len(state)):
        number = state[row]
        for slot in range(0, len(drawn), 2):
            number += GOLDEN
            both = hash64(number)
            radius = math.sqrt(-2.0 * math.log(((both >> np.uint64(32)) + 0.5) * 2.0**-32))
            angle = 2.0 * math.pi * (both & np.uint64(0xFFFFFFFF)) * 2.0**-32
            drawn[slot, row] = radius * math.cos(angle)
            drawn[slot + 1, row] = radius * math.sin(angle)


def train_users(seed: int, row: Indices) -> Users:
    """The user of each train row, uint64 [rows]; `row` has the rows' numbers."""
    return _returning(seed, _TRAIN, row, TRAIN_RETURNS)


def test_users(seed: int, row: Indices, train_rows: int) -> Users:
    """The user of each test row, uint64 [rows]; some are users of the `train_rows` train rows."""
    users = _returning(seed, _TEST, row, TEST_RETURNS)
    is_train_user = (uniform(users, Draw.FROM_TRAIN) < TEST_FROM_TRAIN) & (train_rows > 0)
    users[is_train_user] = train_users(seed, _earlier(train_rows, users[is_train_user]))
    return users


def new_users(seed: int, rows: int) -> Users:
    """`rows` distinct users who are in neither the train nor the test file of the same seed."""
    return _returning(seed, _NEW_USERS, np.arange(rows), 0.0)


def _returning(seed: int, split: int, row: Indices, returns: float) -> Users:
    """The user of each row: with probability `returns` that of an earlier row, else a new one."""
    start = np.random.SeedSequence([seed, split]).generate_state(1, np.uint64)[0]
    users = hash64(start + row.astype(np.uint64) * GOLDEN)
    again = (uniform(users, Draw.RETURNS) < returns) & (row > 0)
    if again.any():
        earlier = _earlier(row[again], users[again])
        users[again] = _returning(seed, split, earlier, returns)
    return users


def _earlier(before: Indices | int, users: Users) -> Indices:
    """A random row below each row in `before`, more often recent, since users soon return."""
    row = (before * np.sqrt(uniform(users, Draw.EARLIER))).astype(np.int64)
    return np.minimum(row, before - 1)
