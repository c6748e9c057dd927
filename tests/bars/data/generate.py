#!/usr/bin/env python3
"""Generated vectors with exact answers, in the layout that `longbow bench ann` reads.

    generate.py OUT_DIR --rows 1000000 --dimension 96 --seed 1 [--of 1000000] [--mean 0.5] [--tail 3] [--rank 32]

Rows lie around centres of unequal weight, in a subspace of `--rank` directions with a spectrum that falls off as that
of embeddings does, plus noise in all directions. `--mean` adds a direction that all rows share; `--tail` gives
coordinates a Student's t distribution with so many degrees of freedom. All vectors have unit length; queries are of the
same kind and not among the rows. The source is laid out for `--of` rows, and `--rows` are the first of them: sets that
differ in `--rows` alone have the same beginning and the same queries. Needs numpy.
"""
import argparse
import os

import numpy as np


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# Rows are drawn in chunks of this many, each from a random stream of its own.
CHUNK = 50_000
# Which stream is for what; rows have theirs by chunk.
LAYOUT, QUERIES, ROWS = range(3)


class Source:
    def __init__(self, a):
        self.seed, self.dimension, self.tail = a.seed, a.dimension, a.tail
        rng = self.stream(LAYOUT)
        rank = min(a.rank, a.dimension)
        centres = max((a.of or a.rows) // 200, 10)
        spectrum = np.arange(1, rank + 1) ** -0.4
        basis, _ = np.linalg.qr(rng.standard_normal((a.dimension, rank)))
        self.basis = (basis * spectrum).T.astype(np.float32)
        self.centres = rng.standard_normal((centres, rank)).astype(np.float32)
        weights = rng.pareto(1.5, centres) + 0.1
        self.weights = weights / weights.sum()
        self.mean = a.mean * unit(rng.standard_normal((1, a.dimension))).astype(np.float32)

    def stream(self, *names):
        return np.random.default_rng([self.seed, *names])

    def noise(self, rng, shape):
        if self.tail:
            return rng.standard_t(self.tail, shape).astype(np.float32)
        return rng.standard_normal(shape, dtype=np.float32)

    def take(self, rng, count):
        rank = self.centres.shape[1]
        of = rng.choice(len(self.centres), count, p=self.weights)
        inner = self.centres[of] + 0.7 * self.noise(rng, (count, rank))
        rows = unit(inner @ self.basis + 0.15 / np.sqrt(self.dimension) * self.noise(rng, (count, self.dimension)))
        return unit(rows + self.mean).astype(np.float32)

    def rows(self, count):
        # Whole chunks, cut at the end: what a chunk holds depends on how many are drawn at once.
        chunks = [self.take(self.stream(ROWS, at), CHUNK) for at in range(0, count, CHUNK)]
        return np.concatenate(chunks)[:count]


def exact(base, queries, k):
    """The k nearest rows of each query."""
    best = np.zeros((len(queries), 0), np.int64)
    scores = np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(base), 50_000):
        part = queries @ base[start : start + 50_000].T
        top = np.argpartition(-part, min(k, part.shape[1] - 1), 1)[:, :k]
        best = np.concatenate([best, top + start], 1)
        scores = np.concatenate([scores, np.take_along_axis(part, top, 1)], 1)
        keep = np.argsort(-scores, 1, kind="stable")[:, :k]
        best, scores = np.take_along_axis(best, keep, 1), np.take_along_axis(scores, keep, 1)
    return best.astype(np.uint32), 1 - scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--of", type=int, help="rows that the source is laid out for; as many as --rows if not given")
    parser.add_argument("--dimension", type=int, required=True)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mean", type=float, default=0.0, help="length of what all rows share")
    parser.add_argument("--tail", type=float, default=0.0, help="degrees of freedom; 0 is a Gaussian")
    parser.add_argument("--rank", type=int, default=32)
    a = parser.parse_args()
    source = Source(a)
    base, queries = source.rows(a.rows), source.take(source.stream(QUERIES), a.queries)
    ids, distances = exact(base, queries, 100)
    os.makedirs(a.out, exist_ok=True)
    np.save(f"{a.out}/base.f32.npy", base)
    np.save(f"{a.out}/query.f32.npy", queries)
    np.savez(f"{a.out}/gt.npz", ids=ids, cos=distances)


if __name__ == "__main__":
    main()
