"""Event sequences: a Markov chain with the measured successors, steered by changing interests.

A token is an index into `vocabulary()` (most frequent first); an event code is what the file holds.
Sequences are `Ragged` rows of tokens (uint16), the oldest event first.

Legend: R rows, E events of all rows, K interests, V tokens.
"""

import math
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ...common.ragged import Ragged
from .statistics import load_statistics

INTERESTS = 8
MEAN_SEGMENT = 60.0
# Below 1 a row has a few favourite interests, above 1 all rows grow alike.
PREFERENCE_CONCENTRATION = 0.8
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


def draw_lengths(rng: np.random.Generator, rows: int, mean_length: float) -> NDArray[np.int64]:
    """Draw log-normal lengths, [R]: at least 1, at most 10 means, `mean_length` on average."""
    spread, longest = LENGTH_SPREAD, LONGEST_IN_MEANS
    # Mean of min(X, longest) for a log-normal X of mean 1, to make up for the cut.
    cut = (math.log(longest) + spread**2 / 2) / spread
    below = 0.5 * (1 + math.erf((cut - spread) / math.sqrt(2)))
    above = 0.5 * (1 - math.erf(cut / math.sqrt(2)))
    scale = mean_length / (below + longest * above)
    length = scale * np.exp(spread * rng.standard_normal(rows) - spread**2 / 2)
    return np.rint(length.clip(1.0, longest * mean_length)).astype(np.int64)


def _draw_interests(rng: np.random.Generator, offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Draw the interest behind each event, [E]: geometric segments, preferences by row."""
    events, rows = int(offsets[-1]), len(offsets) - 1
    gaps = rng.geometric(1.0 / MEAN_SEGMENT, size=int(events / MEAN_SEGMENT * 1.1) + 100)
    switches = np.cumsum(gaps)
    starts = np.union1d(offsets[:-1], switches[switches < events])
    preference = rng.standard_gamma(PREFERENCE_CONCENTRATION, size=(rows, INTERESTS)) + 1e-9
    upper = np.cumsum(_normalised(preference), axis=1)[:, :-1]
    row = np.searchsorted(offsets, starts, side="right") - 1
    interest = (rng.random((len(starts), 1)) > upper[row]).sum(axis=1).astype(np.uint8)
    return np.repeat(interest, np.diff(starts, append=events))


def draw_sequences(rng: np.random.Generator, rows: int, mean_length: float) -> Ragged:
    """Draw the event sequences of `rows` rows.

    One pass over the positions moves all rows that are long enough one event further. Rows are
    handled in order of falling length, so that these are always the first ones.
    """
    lengths = draw_lengths(rng, rows, mean_length)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    interest = _draw_interests(rng, offsets)
    level = rng.integers(0, _LEVELS, size=len(interest), dtype=np.uint16)
    table, size = _next_token_table(), len(vocabulary())
    longest_first = np.argsort(-lengths, kind="stable")
    place = offsets[:-1][longest_first]
    still_going = rows - np.searchsorted(np.sort(lengths), np.arange(lengths.max()), side="right")
    tokens = np.empty(len(interest), dtype=np.uint16)
    upper = np.cumsum(first_token_shares())
    now = np.searchsorted(upper[:-1], rng.random(rows) * upper[-1], side="right")
    tokens[place] = now
    used = rows
    for active in still_going[1:]:
        place = place[:active] + 1
        state = interest[place] * np.int64(size) + now[:active]
        now = table[state * _LEVELS + level[used : used + active]]
        tokens[place] = now
        used += active
    return Ragged(tokens, offsets)


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
