"""Does pyarrow open the columns of a snapshot, as the documentation says?"""

import glob
import pathlib
import unittest

import pyarrow as pa

NEEDS = []
GOLDEN = pathlib.Path(__file__).resolve().parents[3] / "crates/storage/tests/golden/snapshot.v1"


class Snapshot(unittest.TestCase):
    def test_live_rows_are_those_of_the_snapshot(self):
        files = [pa.ipc.open_file(name).read_all() for name in glob.glob(f"{GOLDEN}/*-columns-*.arrow")]
        rows = pa.concat_tables(sorted(files, key=lambda rows: rows["_row_version"][0].as_py()))
        [live] = glob.glob(f"{GOLDEN}/*-live.arrow")
        rows = rows.filter(pa.ipc.open_file(live).read_all()["_live"])
        # What `varied` in the tests of snapshots leaves: 25 ids, of which three were deleted.
        keys = [f"key-{number:04}" for number in range(25) if number not in (3, 4, 16)]
        self.assertEqual(sorted(rows["key"].to_pylist()), keys)
        row = dict(zip(rows.column_names, (column[0].as_py() for column in rows.slice(2, 1).columns)))
        self.assertEqual(
            row, {"key": "key-0002", "number": 0, "text": "text 2", "tags": ["a", "b"], "_row_version": 2}
        )


if __name__ == "__main__":
    unittest.main()
