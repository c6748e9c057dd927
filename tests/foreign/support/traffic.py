"""A little use of every kind, so that every metric of a healthy cluster has something to tell."""

import json

import numpy
import pyarrow
import pyarrow.flight as flight


def run(demo):
    """A put, a few searches and fetches over Flight, and a search over the command line."""
    random = numpy.random.default_rng()
    vectors = random.standard_normal((50, 8), numpy.float32)
    rows = pyarrow.table({
        "id": pyarrow.array(range(50), pyarrow.uint64()),
        "vector": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), 8),
    })
    with flight.connect(f"grpc://{demo.data_addr}") as client:
        writer, _ = client.do_put(flight.FlightDescriptor.for_path("traffic"), rows.schema)
        writer.write_table(rows)
        writer.close()
        ticket = {"search": {"dataset": "traffic", "vector": vectors[0].tolist(), "k": 3}}
        client.do_get(flight.Ticket(json.dumps(ticket).encode())).read_all()
        client.do_get(flight.Ticket(b"traffic")).read_all()
    demo.command("search", "wordnet", "--id", "10734", "-k", "3")
