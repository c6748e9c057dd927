"""Does pyarrow's Flight client, unmodified, store rows, find them at once, and get them all back equal?"""

import json
import unittest

import numpy
import pyarrow
import pyarrow.compute
import pyarrow.flight as flight

from support import demo

NEEDS = ["longbow"]
ROWS = 10_000
DIMENSION = 64
TYPED = (pyarrow.ArrowInvalid, KeyError, flight.FlightError)


def vectors(array):
    """A column of fixed-size lists from a two-dimensional array."""
    return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(array.reshape(-1)), array.shape[1])


def table(rows=ROWS, seed=1, metric=None):
    """Rows whose every column tells which row it belongs to."""
    random = numpy.random.default_rng(seed)
    columns = {
        "id": pyarrow.array(range(rows), pyarrow.uint64()),
        "vector": vectors(random.standard_normal((rows, DIMENSION), numpy.float32)),
        "title": pyarrow.array([f"row {n}" for n in range(rows)]),
        "group": pyarrow.array([n % 10 for n in range(rows)], pyarrow.int32()),
        "weight": pyarrow.array([n / 7 if n % 5 else None for n in range(rows)], pyarrow.float64()),
    }
    made = pyarrow.table(columns)
    return made.replace_schema_metadata({"longbow.metric": metric}) if metric else made


class Flight(unittest.TestCase):
    """One dataset of 10,000 rows, put once, is what most tests ask about."""

    @classmethod
    def setUpClass(cls):
        cls.demo = demo.running()
        cls.client = flight.connect(f"grpc://{cls.demo.data_addr}")
        cls.table = table()
        cls.put("numbers", cls.table, rows_per_batch=1_000)

    @classmethod
    def put(cls, name, rows, rows_per_batch=None):
        writer, reader = cls.client.do_put(flight.FlightDescriptor.for_path(name), rows.schema)
        writer.write_table(rows, max_chunksize=rows_per_batch)
        writer.done_writing()
        while reader.read() is not None:
            pass
        writer.close()

    def get(self, ticket, client=None):
        text = ticket if isinstance(ticket, str) else json.dumps(ticket)
        return (client or self.client).do_get(flight.Ticket(text.encode())).read_all()

    def search(self, dataset, vector, k, **more):
        return self.get({"search": {"dataset": dataset, "vector": [float(x) for x in vector], "k": k, **more}})

    def vector(self, row):
        return self.table["vector"][row].as_py()

    def refused(self, kind, words, call):
        """The call is refused by the right status, naming what is at fault."""
        with self.assertRaises(kind) as caught:
            call()
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_rows_are_found_as_soon_as_the_put_has_ended(self):
        fresh = table(rows=500, seed=2)
        self.put("fresh", fresh)
        for row in (0, 250, 499):
            found = self.search("fresh", fresh["vector"][row].as_py(), 3)
            self.assertEqual(found["id"][0].as_py(), row)

    def test_every_row_comes_back_equal(self):
        back = self.get("numbers")
        self.assertEqual(back.num_rows, ROWS)
        back = back.sort_by("id")
        for name in self.table.column_names:
            self.assertTrue(back[name].combine_chunks().equals(self.table[name].combine_chunks()), name)
        self.assertTrue(back.select(self.table.column_names).equals(self.table))
        vector = back.schema.field("vector").type
        self.assertEqual((vector.list_size, vector.value_type), (DIMENSION, pyarrow.float32()))

    def test_a_search_ranks_as_arithmetic_does(self):
        vector = self.vector(1234)
        found = self.search("numbers", vector, 10)
        self.assertEqual(found.schema.names[:2], ["id", "score"])
        self.assertEqual(found.schema.field("id").type, pyarrow.uint64())
        self.assertEqual(found.schema.field("score").type, pyarrow.float32())
        scores = found["score"].to_pylist()
        self.assertEqual(scores, sorted(scores, reverse=True))
        everything = numpy.array(self.table["vector"].combine_chunks().flatten()).reshape(-1, DIMENSION)
        nearest = numpy.argsort(((everything - numpy.array(vector)) ** 2).sum(axis=1))[:10]
        self.assertGreaterEqual(len(set(nearest.tolist()) & set(found["id"].to_pylist())), 9)

    def test_scores_are_those_of_the_metric(self):
        for metric in ("euclidean", "cosine", "dot_product"):
            with self.subTest(metric=metric):
                rows = table(rows=50, seed=3, metric=metric)
                self.put(f"metric-{metric}", rows)
                a, b = (numpy.array(rows["vector"][n].as_py()) for n in (7, 8))
                found = self.search(f"metric-{metric}", a, 50)
                scores = dict(zip(found["id"].to_pylist(), found["score"].to_pylist()))
                expected = {
                    "euclidean": 1 / (1 + numpy.linalg.norm(a - b)),
                    "cosine": a @ b / numpy.linalg.norm(a) / numpy.linalg.norm(b),
                    "dot_product": a @ b,
                }[metric]
                self.assertEqual(len(scores), 50)
                self.assertAlmostEqual(scores[8], expected, places=3)

    def test_the_columns_of_a_hit_are_those_of_its_row(self):
        for hit in self.search("numbers", self.vector(77), 5).to_pylist():
            row = self.table.slice(hit["id"], 1).to_pylist()[0]
            self.assertEqual({key: hit[key] for key in ("title", "group", "weight")}, {key: row[key] for key in ("title", "group", "weight")})

    def test_a_filtered_search_finds_k_rows_that_match(self):
        filters = [{"field": "group", "op": "eq", "value": 3}]
        found = self.search("numbers", self.vector(0), 100, filters=filters)
        self.assertEqual(found["group"].to_pylist(), [3] * 100)
        as_text = self.search("numbers", self.vector(0), 100, filters=[{"field": "group", "operator": "=", "value": "3"}])
        self.assertEqual(as_text["id"].to_pylist(), found["id"].to_pylist())

    def test_what_was_fetched_can_be_put_again(self):
        some = self.get({"name": "numbers", "limit": 100}).sort_by("id")
        self.put("copy", some)
        copy = self.get("copy").sort_by("id")
        self.assertEqual(copy.to_pylist(), some.to_pylist())

    def test_a_fetch_can_be_limited_and_filtered(self):
        self.assertEqual(self.get({"name": "numbers", "limit": 7}).num_rows, 7)
        filters = [{"field": "group", "op": ">=", "value": 8}, {"field": "id", "op": "<", "value": "100"}]
        found = self.get({"name": "numbers", "filters": filters})
        self.assertEqual(sorted(found["id"].to_pylist()), [n for n in range(100) if n % 10 >= 8])

    def test_vectors_are_returned_on_request(self):
        vector = self.vector(9)
        self.assertNotIn("vector", self.search("numbers", vector, 1).schema.names)
        found = self.search("numbers", vector, 1, include_vectors=True)
        self.assertEqual(found["vector"][0].as_py(), vector)

    def test_the_last_row_of_an_id_wins_also_within_a_batch(self):
        rows = pyarrow.table({
            "id": pyarrow.array([1, 2, 1], pyarrow.uint64()),
            "vector": vectors(numpy.array([[1, 0], [0, 1], [0.5, 0.5]], numpy.float32)),
            "title": pyarrow.array(["first", "other", "last"]),
        })
        self.put("twice", rows)
        self.put("twice", rows.slice(1, 1).set_column(2, "title", pyarrow.array(["replaced"])))
        back = self.get("twice").sort_by("id")
        self.assertEqual(back["id"].to_pylist(), [1, 2])
        self.assertEqual(back["title"].to_pylist(), ["last", "replaced"])
        self.assertEqual(back["vector"][0].as_py(), [0.5, 0.5])

    def test_python_lists_of_doubles_and_text_ids_are_taken(self):
        rows = pyarrow.table({"id": ["a", "b"], "vector": [[1.0, 0.0], [0.0, 1.0]], "title": ["x", "y"]})
        self.put("lists", rows)
        found = self.search("lists", [0.0, 1.0], 1)
        self.assertEqual(found["title"].to_pylist(), ["y"])
        self.assertEqual(found["id_str"].to_pylist(), ["b"])
        self.assertEqual(sorted(self.get("lists")["id"].to_pylist()), ["a", "b"])

    def test_a_schema_without_rows_makes_the_dataset(self):
        self.put("empty", self.table.slice(0, 0))
        back = self.get("empty")
        self.assertEqual((back.num_rows, set(back.schema.names)), (0, set(self.table.column_names)))

    def test_flights_are_listed_and_described(self):
        listed = {info.descriptor.path[0].decode(): info for info in self.client.list_flights()}
        self.assertIn("wordnet", listed)
        described = self.client.get_flight_info(flight.FlightDescriptor.for_path("numbers"))
        for info in (listed["numbers"], described):
            self.assertEqual(info.total_records, ROWS)
            self.assertGreater(info.total_bytes, ROWS * DIMENSION * 4)
            self.assertEqual({f.name: f.type for f in info.schema}["group"], pyarrow.int32())
        fetched = self.client.do_get(described.endpoints[0].ticket).read_all()
        self.assertEqual(fetched.num_rows, ROWS)
        schema = self.client.get_schema(flight.FlightDescriptor.for_path("numbers")).schema
        self.assertEqual(set(schema.names), set(self.table.column_names))

    def test_the_meta_port_serves_the_same(self):
        with flight.connect(f"grpc://{self.demo.meta_addr}") as meta:
            names = {info.descriptor.path[0] for info in meta.list_flights()}
            self.assertIn(b"numbers", names)
            self.assertEqual(self.get("numbers", meta).num_rows, ROWS)

    def test_errors_are_typed_and_name_what_is_at_fault(self):
        vector = self.vector(0)
        invalid = pyarrow.ArrowInvalid
        missing = (KeyError, flight.FlightError)
        self.refused(missing, ["nowhere"], lambda: self.get("nowhere"))
        self.refused(missing, ["nowhere"], lambda: self.search("nowhere", vector, 1))
        self.refused(missing, ["nowhere"], lambda: self.client.get_flight_info(flight.FlightDescriptor.for_path("nowhere")))
        self.refused(invalid, ["64"], lambda: self.search("numbers", vector[:3], 1))
        self.refused(invalid, ["k"], lambda: self.search("numbers", vector, 0))
        self.refused(invalid, ["colour"], lambda: self.search("numbers", vector, 1, colour="red"))
        unknown = [{"field": "nothing", "op": "eq", "value": 1}]
        self.refused(invalid, ["nothing"], lambda: self.search("numbers", vector, 1, filters=unknown))
        misfit = [{"field": "group", "op": "eq", "value": "red"}]
        self.refused(invalid, ["group"], lambda: self.search("numbers", vector, 1, filters=misfit))
        operator = [{"field": "group", "op": "resembles", "value": 1}]
        self.refused(invalid, ["resembles"], lambda: self.search("numbers", vector, 1, filters=operator))
        self.refused(invalid, [], lambda: self.get("{"))
        self.refused(TYPED, [], lambda: list(self.client.do_action(flight.Action("no-such-action", b""))))

    def test_a_refused_put_writes_nothing(self):
        narrow = table(rows=5, seed=4)
        narrow = narrow.set_column(1, "vector", vectors(numpy.ones((5, 3), numpy.float32)))
        self.refused(pyarrow.ArrowInvalid, ["vector"], lambda: self.put("numbers", narrow))
        nan = table(rows=5, seed=4)
        nan = nan.set_column(1, "vector", vectors(numpy.full((5, DIMENSION), numpy.nan, numpy.float32)))
        self.refused(pyarrow.ArrowInvalid, ["vector"], lambda: self.put("numbers", nan))
        self.test_every_row_comes_back_equal()
