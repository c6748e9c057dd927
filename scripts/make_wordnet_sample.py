#!/usr/bin/env python3
"""Makes data/wordnet/sample.parquet: the 5,000 WordNet synsets that ship with Longbow.

The input is the folder of the full data set: 116,659 synsets of WordNet 3.0 with their all-MiniLM-L6-v2
embeddings (`meta.parquet`, one row per synset, and `base.f16.npy`, one unit vector per row; row number = id).

Which synsets, so that a search of the sample shows something sensible and still covers all topics:

* 2,000 near everyday things: the anchors below take turns, each adding its next nearest synset (cosine,
  ties by id) that is not yet there, itself first;
* 3,000 at an even stride over all the others, in the order of the WordNet data files.

The choice depends on nothing but the input, so the same input gives the same rows. Ids are those of the full
data, so answers can be compared. Rows are sorted by id.

    python3 -m venv venv && venv/bin/pip install numpy pyarrow
    venv/bin/python scripts/make_wordnet_sample.py FULL_DATA_FOLDER [OUTPUT.parquet]
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 5_000
NEAR_ROWS = 2_000
DIMENSION = 384
BYTES_MAX = 6 << 20
DOG = 10_734

# Offset-type of the synset: the first noun sense that most people mean by the word.
ANCHORS = {
    "dog": "02084071-n",
    "cat": "02121620-n",
    "car": "02958343-n",
    "music": "05718556-n",
    "bread": "07679356-n",
    "ocean": "09376198-n",
    "tree": "13104059-n",
    "house": "03544360-n",
    "money": "13384557-n",
    "happiness": "13987423-n",
    "computer": "03082979-n",
    "football": "00468480-n",
    "war": "00973077-n",
    "river": "09411430-n",
}

SCHEMA = pa.schema(
    [
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("synset", pa.string(), nullable=False),
        pa.field("lemmas", pa.list_(pa.field("item", pa.string())), nullable=False),
        pa.field("gloss", pa.string(), nullable=False),
        pa.field("pos", pa.string(), nullable=False),
        pa.field("lexname", pa.string(), nullable=False),
        pa.field("word_count", pa.int32(), nullable=False),
        pa.field("vector", pa.list_(pa.field("item", pa.float16(), nullable=False), DIMENSION), nullable=False),
    ],
    metadata={"longbow.metric": "cosine", "source": "WordNet 3.0, Princeton University; see LICENSE"},
)


def choose(synsets: list[str], vectors: np.ndarray) -> np.ndarray:
    """Ids of the sample, ascending."""
    row_of = {synset: row for row, synset in enumerate(synsets)}
    wide = vectors.astype(np.float32)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    near = [
        iter(np.argsort(-(wide @ wide[row_of[synset]]), kind="stable"))
        for synset in ANCHORS.values()
    ]
    chosen: set[int] = set()
    while len(chosen) < NEAR_ROWS:
        for ranking in near:
            if len(chosen) < NEAR_ROWS:
                chosen.add(next(int(row) for row in ranking if int(row) not in chosen))
    rest = np.array([row for row in range(len(synsets)) if row not in chosen])
    even = rest[(np.arange(ROWS - NEAR_ROWS) * len(rest)) // (ROWS - NEAR_ROWS)]
    return np.sort(np.concatenate([np.fromiter(chosen, dtype=np.int64), even]))


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = Path(sys.argv[1])
    default = Path(__file__).resolve().parent.parent / "data" / "wordnet" / "sample.parquet"
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else default

    meta = pq.read_table(source / "meta.parquet")
    vectors = np.load(source / "base.f16.npy", mmap_mode="r")
    assert vectors.shape == (meta.num_rows, DIMENSION) and vectors.dtype == np.float16, vectors.shape
    assert meta["id"].to_pylist() == list(range(meta.num_rows)), "ids are row numbers"

    rows = choose(meta["synset"].to_pylist(), np.asarray(vectors))
    assert len(set(rows.tolist())) == ROWS and DOG in rows
    picked = meta.take(pa.array(rows))
    flat = pa.array(np.ascontiguousarray(vectors[rows]).reshape(-1), type=pa.float16())
    columns = [
        picked[field.name].combine_chunks().cast(field.type) for field in SCHEMA if field.name != "vector"
    ]
    columns.append(pa.FixedSizeListArray.from_arrays(flat, type=SCHEMA.field("vector").type))
    table = pa.Table.from_arrays(columns, schema=SCHEMA)

    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table,
        target,
        compression="zstd",
        compression_level=19,
        use_dictionary=["pos", "lexname"],
        write_statistics=False,
        row_group_size=ROWS,
    )
    size = target.stat().st_size
    assert size <= BYTES_MAX, f"{size} bytes"
    print(f"{target}: {ROWS} rows, {size} bytes")


if __name__ == "__main__":
    main()
