"""Event sequences: a Markov chain with the measured successors, steered by changing interests.

A token is an index into `vocabulary()` (most frequent first); an event code is what the file holds.
Sequences are `Ragged` rows of tokens (uint16), the oldest event first.

Legend: R rows, E events of all rows, K interests, V tokens.
"""

import math
from functools import lru_cache

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...common.hashing import GOLDEN, hashed
from ...common.ragged import Ragged
from .drawn_users import Draw, Keys, Users
from .statistics import load_statistics

INTERESTS = 8
MEAN_SEGMENT = 60.0
# Above 1 a user has a few favourite interests, below 1 all users grow alike.
PREFERENCE_SPREAD = 1.2
# How many times more likely an interest makes its own tokens.
INTEREST_TILT = 5.0
# Standard deviation of the log length: 3.5 % of rows come out below a tenth of the mean.
LENGTH_SPREAD = 1.0
LONGEST_IN_MEANS = 10.0
_LEVELS = 4_096
_WORLD_SEED = 20_252
# Successors were counted for the 12 most frequent only: each token keeps this much for the rest.
_LEAST_UNSEEN = 0.02


@lru_cache(maxsize=1)
def vocabulary() -> NDArray[np.int64]:
    """Return the event codes by token, [V], most frequent first."""
    return np.array([int(code) for code in load_statistics()["sequence"]["token_share"]])


@lru_cache(maxsize=1)
def token_shares() -> NDArray[np.float64]:
    """Return the measured token shares, [V], summing to 1."""
    share = np.array(list(load_statistics()["sequence"]["token_share"].values()))
    return share / share.sum()


@lru_cache(maxsize=1)
def first_token_shares() -> NDArray[np.float64]:
    """Return the share of each token at the oldest position, [V]; the rest follows the shares."""
    token_of = {int(code): token for token, code in enumerate(vocabulary())}
    first = np.zeros(len(token_of))
    for code, share in load_statistics()["sequence"]["first_token_share"].items():
        if int(code) in token_of:
            first[token_of[int(code)]] = share
    return first + (1.0 - first.sum()) * token_shares()


@lru_cache(maxsize=1)
def measured_successors() -> NDArray[np.float64]:
    """Return the successor probabilities [V, V], unseen mass spread like the token shares."""
    share_V = token_shares()
    token_of = {int(code): token for token, code in enumerate(vocabulary())}
    probability = np.tile(share_V, (len(share_V), 1))
    for code, successors in load_statistics()["sequence"]["successors"].items():
        known = {token_of[int(to)]: p for to, p in successors.items() if int(to) in token_of}
        seen = np.zeros(len(share_V))
        seen[list(known)] = list(known.values())
        unseen = max(1.0 - seen.sum(), _LEAST_UNSEEN)
        probability[token_of[int(code)]] = seen / seen.sum() * (1.0 - unseen) + unseen * share_V
    return probability


def _normalised(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return weight / weight.sum(axis=-1, keepdims=True)


def _settled(
    occupancy_KV: NDArray[np.float64], chain_KVV: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """Return the shares of (interest, token) after some events, starting from `occupancy_KV`."""
    switch = 1.0 / MEAN_SEGMENT
    for _ in range(steps):
        mixed = (1.0 - switch) * occupancy_KV + switch * occupancy_KV.mean(axis=0)
        occupancy_KV = np.matmul(mixed[:, None, :], chain_KVV)[:, 0, :]
    return occupancy_KV


@lru_cache(maxsize=1)
def interest_chains() -> NDArray[np.float64]:
    """Return successor probabilities by interest, [K, V, V].

    Each token belongs to two interests, which make it INTEREST_TILT times likelier. Two
    corrections alternate until the mixture over interests is like the data again: one per target
    token, for the token shares, and one per pair, for the successors.
    """
    share_V, first_V, successors_VV = token_shares(), first_token_shares(), measured_successors()
    rng = np.random.default_rng(_WORLD_SEED)
    tokens = len(share_V)
    # Neighbours in frequency go to different interests, so that all interests weigh about alike.
    turns = -(-tokens // INTERESTS)
    tilt_KV = np.ones((INTERESTS, tokens))
    for _ in range(2):
        owner_V = np.concatenate([rng.permutation(INTERESTS) for _ in range(turns)])[:tokens]
        tilt_KV[owner_V, np.arange(tokens)] = INTEREST_TILT
    # The shares were counted in the first 50 events, the oldest of which has shares of its own.
    target_V = _normalised((share_V - first_V / 50.0).clip(min=share_V * 0.02))
    pair_VV = successors_VV.copy()
    occupancy_KV = np.tile(share_V, (INTERESTS, 1))
    for _ in range(40):
        chain_KVV = _normalised(pair_VV * tilt_KV[:, None, :])
        occupancy_KV = _settled(occupancy_KV, chain_KVV, steps=8)
        joint_VV = np.einsum("kv,kvw->vw", occupancy_KV, chain_KVV)
        realised_V = _normalised(joint_VV.sum(axis=0))
        pair_VV *= np.sqrt(successors_VV / _normalised(joint_VV))
        pair_VV = _normalised(pair_VV * (target_V / realised_V) ** 0.5)
    return _normalised(pair_VV * tilt_KV[:, None, :])


@lru_cache(maxsize=1)
def _next_token_table() -> NDArray[np.uint16]:
    """Return the inverse distribution functions [K · V · 4096] as one flat array.

    The 4096 levels of a state start at a random fraction, so that a token rarer than 1 / 4096
    appears in the right share of states instead of never.
    """
    chain_KVV = interest_chains()
    rng = np.random.default_rng(_WORLD_SEED + 1)
    cumulative = np.cumsum(chain_KVV.reshape(-1, chain_KVV.shape[-1]), axis=1)
    level = (np.arange(_LEVELS) + rng.random((len(cumulative), 1))) / _LEVELS
    table = np.empty(level.shape, dtype=np.uint16)
    for state, upper in enumerate(cumulative):
        table[state] = np.searchsorted(upper[:-1], level[state] * upper[-1], side="right")
    return table.reshape(-1)


def draw_lengths(users: Users, mean_length: float) -> NDArray[np.int64]:
    """Draw log-normal lengths, [R]: at least 1, at most 10 means, `mean_length` on average."""
    spread, longest = LENGTH_SPREAD, LONGEST_IN_MEANS
    # Mean of min(X, longest) for a log-normal X of mean 1, to make up for the cut.
    cut = (math.log(longest) + spread**2 / 2) / spread
    below = 0.5 * (1 + math.erf((cut - spread) / math.sqrt(2)))
    above = 0.5 * (1 - math.erf(cut / math.sqrt(2)))
    scale = mean_length / (below + longest * above)
    length = scale * np.exp(spread * users.normal(Draw.LENGTH) - spread**2 / 2)
    return np.rint(length.clip(1.0, longest * mean_length)).astype(np.int64)


def draw_sequences(users: Users, mean_length: float) -> Ragged:
    """Draw the event sequence of each row's user: equal users have equal sequences."""
    lengths = draw_lengths(users, mean_length)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.empty(offsets[-1], dtype=np.uint16)
    first_upper = np.cumsum(first_token_shares())
    first_upper /= first_upper[-1]
    # Rows of about the same length are drawn side by side.
    order = np.argsort(-lengths, kind="stable")
    _walk(users.bits(Draw.EVENTS), order, offsets, first_upper, _next_token_table(), tokens)
    return Ragged(tokens, offsets)


@numba.njit(nogil=True)
def _uniform(bits: np.uint64) -> float:
    """Return a number in [0, 1) of the upper 32 bits."""
    return (bits >> np.uint64(32)) * 2.0**-32


@numba.njit(nogil=True)
def _place(upper: NDArray[np.float64], uniform: float) -> int:
    """Return the first place whose upper level lies above a number in [0, 1)."""
    place = 0
    while place < len(upper) - 1 and upper[place] <= uniform:
        place += 1
    return place


@numba.njit(nogil=True)
def _walk(
    key: Keys,
    order: NDArray[np.int64],
    offsets: NDArray[np.int64],
    first_upper: NDArray[np.float64],
    table: NDArray[np.uint16],
    tokens: NDArray[np.uint16],
) -> None:
    """Write the tokens of all rows: geometric segments of one interest, preferences by user.

    Several rows go side by side, since each event waits for the table entry of the one before.
    """
    step, lanes = GOLDEN, 16
    # 16 bits of a number decide whether an interest ends, 12 the next token, 32 a new interest.
    switch = np.uint64(65_536 / MEAN_SEGMENT)
    state = np.empty(lanes, dtype=np.uint64)
    upper = np.empty((lanes, INTERESTS))
    interest = np.empty(lanes, dtype=np.int64)
    now = np.empty(lanes, dtype=np.int64)
    for start in range(0, len(order), lanes):
        side = min(lanes, len(order) - start)
        for lane in range(side):
            row = order[start + lane]
            bits, total = key[row], 0.0
            for i in range(INTERESTS):
                bits += step
                total += (-math.log1p(-_uniform(hashed(bits)))) ** PREFERENCE_SPREAD + 1e-9
                upper[lane, i] = total
            for i in range(INTERESTS):
                upper[lane, i] /= total
            interest[lane] = _place(upper[lane], _uniform(hashed(bits + step)))
            state[lane] = bits + step + step
            now[lane] = _place(first_upper, _uniform(hashed(state[lane])))
            tokens[offsets[row]] = now[lane]
        longest = offsets[order[start] + 1] - offsets[order[start]]
        for age in range(1, longest):
            for lane in range(side):
                row = order[start + lane]
                place = offsets[row] + age
                if place < offsets[row + 1]:
                    state[lane] += step
                    bits = hashed(state[lane])
                    if (bits & np.uint64(0xFFFF)) < switch:
                        interest[lane] = _place(upper[lane], _uniform(bits))
                    level = np.int64((bits >> np.uint64(16)) & np.uint64(_LEVELS - 1))
                    at = (interest[lane] * len(first_upper) + now[lane]) * _LEVELS + level
                    now[lane] = table[at]
                    tokens[place] = now[lane]


def join_codes(sequences: Ragged) -> pa.StringArray:
    """Return the comma-joined event codes of each row, the newest last.

    Every event becomes four bytes, code and comma, filled with zero bytes; dropping the zero bytes
    joins them all at once. The newest event of a row has no comma.
    """
    codes = vocabulary()
    texts = [f"{code}," for code in codes] + [f"{code}" for code in codes]
    if max(map(len, texts)) > 4:
        raise ValueError("event codes of more than three digits do not fit four bytes")
    padded = np.array([text.encode() for text in texts], dtype="S4").view(np.uint32)
    width = np.array([len(text) for text in texts], dtype=np.uint8)
    index = sequences.values.copy()
    index[sequences.offsets[1:] - 1] += np.uint16(len(codes))
    characters = padded[index].view(np.uint8)
    characters = characters[characters != 0]
    row_width = np.add.reduceat(width[index], sequences.offsets[:-1], dtype=np.int64)
    ends = np.concatenate([[0], np.cumsum(row_width)])
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"a chunk of {ends[-1]} characters is too large: use smaller chunks")
    return pa.StringArray.from_buffers(
        len(row_width), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(characters)
    )
