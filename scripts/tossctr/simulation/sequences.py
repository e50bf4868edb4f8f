"""Draws the event sequence (history) of each simulated user.

A user has several interests. Each interest is a Markov chain of events, and a sequence switches
between the chains. The chains are fitted to published shares of events and of successive events.

In the file, an event is a code (text); here, it is a token, the code's index in `vocabulary()`.
Sequences are `Ragged` rows of tokens (uint16), the oldest event first.

Shape legend: K interests, V tokens.
"""

import math
from functools import cache

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..common.arrays import GOLDEN, Ragged, hash64
from .statistics import Floats, Floats32, load_statistics, normal_cdf
from .users import Draw, Users, random_bits

INTERESTS = 8
# Mean number of successive events of one interest.
MEAN_SEGMENT = 60.0
# The mean length of the real sequences.
REAL_MEAN = 530.751
# Above 1, each user prefers a few interests; below 1, users are similar.
_PREFERENCE = 2.0
# The factor by which an interest raises the probability of its tokens.
_TILT = 40.0
_LEVELS = 4_096
_WORLD_SEED = 20_252
# The real file has 594 codes; unpublished codes are the rarest.
_CODES, _RARE_SHARES = 594, (2e-6, 2e-10)
# Only frequent successors were published; further successors get at least this share.
_MIN_UNSEEN = 0.02


@cache
def vocabulary() -> list[str]:
    """The codes of events in the file, most frequent first; an index in this list is a token."""
    published = list(load_statistics()["sequence"]["token_share"])
    unpublished = sorted({str(code) for code in range(1, 1_000)}.difference(published), key=int)
    return [*published, *unpublished[: _CODES - len(published)]]


@cache
def token_shares() -> Floats:
    """The share of each token among all events, [tokens]; the sum is 1."""
    published = list(load_statistics()["sequence"]["token_share"].values())
    share = np.append(published, np.geomspace(*_RARE_SHARES, _CODES - len(published)))
    return share / share.sum()


@cache
def _end_shares(event: str) -> Floats:
    """Token shares of `first`, `last` or `only` events, [V]; unpublished as in `token_shares`."""
    shares = load_statistics()["sequence"][f"{event}_token_share"]
    published = np.array([shares.get(code, 0.0) for code in vocabulary()])
    return published + (1.0 - published.sum()) * token_shares()


def transition_probabilities() -> Floats:
    """The probability, at [i, j], that token j follows token i in the real sequences.

    Frequent successors have published probabilities. The remaining probability is divided among all
    tokens in proportion to their shares of all events.
    """
    share_V = token_shares()
    probability = np.tile(share_V, (len(share_V), 1))
    for code, successors in load_statistics()["sequence"]["successors"].items():
        seen = np.array([successors.get(to, 0.0) for to in vocabulary()])
        unseen = max(1.0 - seen.sum(), _MIN_UNSEEN)
        row = vocabulary().index(code)
        probability[row] = seen / seen.sum() * (1.0 - unseen) + unseen * share_V
    return probability


def _normalised(weight: Floats) -> Floats:
    return weight / weight.sum(axis=-1, keepdims=True)


def interest_chains() -> Floats:
    """The probability, at [k, i, j], that token j follows token i while interest k lasts.

    Each token belongs to one or two interests, which make it _TILT times likelier. Two
    corrections then alternate (iterative proportional fitting) until all
    interests together have the token pairs of `transition_probabilities` and the `token_shares`.
    """
    share_V, successors_VV = token_shares(), transition_probabilities()
    rng = np.random.default_rng(_WORLD_SEED)
    tokens = len(share_V)
    # Tokens of similar frequency get different interests, so interests are about equally frequent.
    turns = -(-tokens // INTERESTS)
    tilt_KV = np.ones((INTERESTS, tokens))
    for _ in range(2):
        owner_V = np.concatenate([rng.permutation(INTERESTS) for _ in range(turns)])[:tokens]
        tilt_KV[owner_V, np.arange(tokens)] = _TILT
    # The first event and the last two are drawn from separate shares.
    ends_V = _end_shares("first") + 2.0 * _end_shares("last")
    target_V = _normalised((share_V - ends_V / REAL_MEAN).clip(min=share_V * 0.02))
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
        # Weaker than the next line, since successors were counted on fewer rows.
        pair_VV *= (successors_VV / _normalised(joint_VV)) ** 0.15
        pair_VV = _normalised(pair_VV * (target_V / realised_V) ** 0.8)
    return _normalised(pair_VV * tilt_KV[:, None, :])


@cache
def _next_token_table() -> NDArray[np.uint16]:
    """The next token by interest, token and quantile, flattened: [K * V * 4096].

    A random shift of a token's quantiles, below 1 / 4096, lets rarer tokens occur.
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


def draw_sequences(users: Users, score: Floats32, mean_length: float) -> Ragged:
    """Draw an event sequence for each row; rows of one user have equal sequences.

    `score` has a standard normal number for each row, which decides the sequence's length. Lengths
    have the published distribution, scaled to the mean `mean_length`.
    """
    published = load_statistics()["sequence"]["lengths"]
    logs = np.interp(normal_cdf(score), published["levels"], np.log(published["values"]))
    length = np.rint(np.exp(logs) * (mean_length / REAL_MEAN)).clip(1).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(length)])
    tokens = np.empty(offsets[-1], dtype=np.uint16)
    upper = [np.cumsum(_end_shares(event)) for event in ("first", "only")]
    key, table = random_bits(users, Draw.EVENTS), _next_token_table()
    _walk(key, offsets, upper[0], upper[1], table, tokens, *_endings())
    return Ragged(tokens, offsets)


@cache
def _endings() -> tuple[Floats, NDArray[np.int64]]:
    """Possible last two tokens: cumulative probabilities [pairs], and tokens [2, pairs].

    In unpublished pairs, the first token is V: the sequence keeps its next to last token.
    """
    statistics, code = load_statistics()["sequence"], vocabulary().index
    last_V = _end_shares("last").copy()
    pairs = []
    for pair, share in statistics["last_two_share"].items():
        before, final = map(code, pair.split(","))
        pairs.append((share, before, final))
        last_V[final] -= share
    pairs += [(max(rest, 0.0), len(last_V), token) for token, rest in enumerate(last_V)]
    upper = np.cumsum([share for share, _, _ in pairs])
    ends = [(before, final) for _, before, final in pairs]
    return upper / upper[-1], np.array(ends).T.copy()


@numba.njit(nogil=True)
def _uniform(number: np.uint64) -> float:
    """A float in [0, 1) from the upper 32 bits of `number`."""
    return (number >> np.uint64(32)) * 2.0**-32


@numba.njit(nogil=True)
def _walk(
    key: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    first_upper: Floats,
    only_upper: Floats,
    table: NDArray[np.uint16],
    tokens: NDArray[np.uint16],
    ending_upper: Floats,
    ending: NDArray[np.int64],
) -> None:
    """Fill `tokens` for all rows, as segments of one interest, drawn by the user's preferences.

    Segment lengths are geometric. The last two tokens are drawn separately.
    """
    # Of each number, 16 bits decide if the interest ends, 12 the next token, 32 the new interest.
    switch = np.uint64(65_536 / MEAN_SEGMENT)
    upper = np.empty(INTERESTS)
    for row in range(len(key)):
        state, total = key[row], 0.0
        for i in range(INTERESTS):
            state += GOLDEN
            total += (-math.log1p(-_uniform(hash64(state)))) ** _PREFERENCE + 1e-9
            upper[i] = total
        upper /= total
        interest = np.searchsorted(upper, _uniform(hash64(state + GOLDEN)), side="right")
        state += GOLDEN + GOLDEN
        level_0 = _uniform(hash64(state))
        if offsets[row + 1] - offsets[row] == 1:
            tokens[offsets[row]] = np.searchsorted(only_upper, level_0 * only_upper[-1])
            continue
        now = np.searchsorted(first_upper, level_0 * first_upper[-1])
        tokens[offsets[row]] = now
        for event in range(offsets[row] + 1, offsets[row + 1]):
            state += GOLDEN
            drawn = hash64(state)
            if (drawn & np.uint64(0xFFFF)) < switch:
                interest = np.searchsorted(upper, _uniform(drawn), side="right")
            level = np.int64((drawn >> np.uint64(16)) & np.uint64(_LEVELS - 1))
            now = table[(interest * len(first_upper) + now) * _LEVELS + level]
            tokens[event] = now
        end = np.searchsorted(ending_upper, _uniform(hash64(state + GOLDEN)))
        tokens[offsets[row + 1] - 1] = ending[1, end]
        if ending[0, end] < len(first_upper) and offsets[row + 1] - offsets[row] > 2:
            tokens[offsets[row + 1] - 2] = ending[0, end]


def join_codes(sequences: Ragged) -> pa.StringArray:
    """The text of each sequence in the file: event codes joined by commas, the newest last."""
    codes = pa.array(vocabulary()).take(pa.array(sequences.values))
    rows = pa.LargeListArray.from_arrays(pa.array(sequences.offsets), codes)
    return pc.binary_join(rows, ",")
