"""Event sequences: a Markov chain with the measured successors, steered by changing interests.

A token is an index into `vocabulary()` (most frequent first); an event code is what the file holds.
Sequences are `Ragged` rows of tokens (uint16), the oldest event first.

Legend: R rows, K interests, V tokens.
"""

import math
from functools import cache

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..common.hashing import GOLDEN, hashed
from ..common.ragged import Ragged
from .statistics import Floats, load_statistics
from .users import Draw, Users, bits, normal

INTERESTS = 8
MEAN_SEGMENT = 60.0
# Above 1 a user has a few favourite interests, below 1 all users grow alike.
_PREFERENCE = 1.2
# How many times likelier the tokens of an interest become.
_TILT = 5.0
# Log-normal lengths whose logarithm has deviation 1: 3.5 % come out below a tenth of the mean.
_LONGEST_IN_MEANS = 10.0
# The mean of min(X, 10) for such an X of mean 1, to make up for the cut.
_MEAN_OF_CUT = 0.9896207205726549
_LEVELS = 4_096
_WORLD_SEED = 20_252
# Successors were counted for the 12 most frequent only: each token keeps this much for the rest.
_LEAST_UNSEEN = 0.02


@cache
def vocabulary() -> list[str]:
    """The event codes by token, [V], most frequent first."""
    return list(load_statistics()["sequence"]["token_share"])


@cache
def token_shares() -> Floats:
    """The measured token shares, [V], summing to 1."""
    share = np.array(list(load_statistics()["sequence"]["token_share"].values()))
    return share / share.sum()


@cache
def first_token_shares() -> Floats:
    """The share of each token at the oldest position, [V]; the rest follows the token shares."""
    shares = load_statistics()["sequence"]["first_token_share"]
    first = np.array([shares.get(code, 0.0) for code in vocabulary()])
    return first + (1.0 - first.sum()) * token_shares()


@cache
def measured_successors() -> Floats:
    """The successor probabilities [V, V], unseen mass spread like the token shares."""
    share_V = token_shares()
    probability = np.tile(share_V, (len(share_V), 1))
    for code, successors in load_statistics()["sequence"]["successors"].items():
        seen = np.array([successors.get(to, 0.0) for to in vocabulary()])
        unseen = max(1.0 - seen.sum(), _LEAST_UNSEEN)
        row = vocabulary().index(code)
        probability[row] = seen / seen.sum() * (1.0 - unseen) + unseen * share_V
    return probability


def _normalised(weight: Floats) -> Floats:
    return weight / weight.sum(axis=-1, keepdims=True)


@cache
def interest_chains() -> Floats:
    """Successor probabilities by interest, [K, V, V].

    Each token belongs to two interests, which make it _TILT times likelier. Two corrections
    alternate until the mixture over interests is like the data again: one per target token, for the
    token shares, and one per pair, for the successors.
    """
    share_V, first_V, successors_VV = token_shares(), first_token_shares(), measured_successors()
    rng = np.random.default_rng(_WORLD_SEED)
    tokens = len(share_V)
    # Neighbours in frequency go to different interests, so that all interests weigh about alike.
    turns = -(-tokens // INTERESTS)
    tilt_KV = np.ones((INTERESTS, tokens))
    for _ in range(2):
        owner_V = np.concatenate([rng.permutation(INTERESTS) for _ in range(turns)])[:tokens]
        tilt_KV[owner_V, np.arange(tokens)] = _TILT
    # The shares were counted in the first 50 events, and the oldest event has other shares.
    target_V = _normalised((share_V - first_V / 50.0).clip(min=share_V * 0.02))
    pair_VV = successors_VV.copy()
    occupancy_KV = np.tile(share_V, (INTERESTS, 1))
    switch = 1.0 / MEAN_SEGMENT
    for _ in range(40):
        chain_KVV = _normalised(pair_VV * tilt_KV[:, None, :])
        for _ in range(8):
            left_KV = (1.0 - switch) * occupancy_KV + switch * occupancy_KV.mean(axis=0)
            occupancy_KV = np.matmul(left_KV[:, None, :], chain_KVV)[:, 0, :]
        joint_VV = np.einsum("kv,kvw->vw", occupancy_KV, chain_KVV)
        realised_V = _normalised(joint_VV.sum(axis=0))
        pair_VV *= np.sqrt(successors_VV / _normalised(joint_VV))
        pair_VV = _normalised(pair_VV * (target_V / realised_V) ** 0.5)
    return _normalised(pair_VV * tilt_KV[:, None, :])


@cache
def _next_token_table() -> NDArray[np.uint16]:
    """The inverse distribution functions [K · V · 4096] as one flat array.

    The 4096 levels of a state start at a random fraction, so that a token rarer than 1 / 4096
    appears in the right share of states instead of never.
    """
    rng = np.random.default_rng(_WORLD_SEED + 1)
    upper_SV = np.cumsum(interest_chains().reshape(-1, len(vocabulary())), axis=1)
    level_S = (np.arange(_LEVELS) + rng.random((len(upper_SV), 1))) / _LEVELS
    return np.concatenate(
        [
            np.searchsorted(upper_V[:-1], level * upper_V[-1], side="right").astype(np.uint16)
            for upper_V, level in zip(upper_SV, level_S)
        ]
    )


def draw_lengths(users: Users, mean_length: float) -> NDArray[np.int64]:
    """Draw log-normal lengths, [R]: at least 1, at most 10 means, `mean_length` on average."""
    length = mean_length / _MEAN_OF_CUT * np.exp(normal(users, Draw.LENGTH) - 0.5)
    return np.rint(length.clip(1.0, _LONGEST_IN_MEANS * mean_length)).astype(np.int64)


def draw_sequences(users: Users, mean_length: float) -> Ragged:
    """Draw the event sequence of each row's user: equal users have equal sequences."""
    offsets = np.concatenate([[0], np.cumsum(draw_lengths(users, mean_length))])
    tokens = np.empty(offsets[-1], dtype=np.uint16)
    first_upper = np.cumsum(first_token_shares())
    key, table = bits(users, Draw.EVENTS), _next_token_table()
    _walk(key, offsets, first_upper / first_upper[-1], table, tokens)
    return Ragged(tokens, offsets)


@numba.njit(nogil=True)
def _uniform(number: np.uint64) -> float:
    """A number in [0, 1) of the upper 32 bits."""
    return (number >> np.uint64(32)) * 2.0**-32


@numba.njit(nogil=True)
def _walk(
    key: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    first_upper: Floats,
    table: NDArray[np.uint16],
    tokens: NDArray[np.uint16],
) -> None:
    """Write the tokens of all rows: geometric segments of one interest, preferences by user."""
    # 16 bits of a number decide whether an interest ends, 12 the next token, 32 a new interest.
    switch = np.uint64(65_536 / MEAN_SEGMENT)
    upper = np.empty(INTERESTS)
    for row in range(len(key)):
        state, total = key[row], 0.0
        for i in range(INTERESTS):
            state += GOLDEN
            total += (-math.log1p(-_uniform(hashed(state)))) ** _PREFERENCE + 1e-9
            upper[i] = total
        upper /= total
        interest = np.searchsorted(upper, _uniform(hashed(state + GOLDEN)), side="right")
        state += GOLDEN + GOLDEN
        now = np.searchsorted(first_upper, _uniform(hashed(state)), side="right")
        tokens[offsets[row]] = now
        for place in range(offsets[row] + 1, offsets[row + 1]):
            state += GOLDEN
            drawn = hashed(state)
            if (drawn & np.uint64(0xFFFF)) < switch:
                interest = np.searchsorted(upper, _uniform(drawn), side="right")
            level = np.int64((drawn >> np.uint64(16)) & np.uint64(_LEVELS - 1))
            now = table[(interest * len(first_upper) + now) * _LEVELS + level]
            tokens[place] = now


def join_codes(sequences: Ragged) -> pa.StringArray:
    """The comma-joined event codes of each row, the newest last."""
    codes = pa.array(vocabulary()).take(pa.array(sequences.values))
    rows = pa.LargeListArray.from_arrays(pa.array(sequences.offsets), codes)
    return pc.binary_join(rows, ",")
