"""Do stubs that stock grpcio-tools makes from proto/ work: a write, a search, typed errors, health, reflection?"""

import atexit
import importlib
import io
import pathlib
import shutil
import sys
import tempfile
import unittest

import grpc
import grpc_tools
import pyarrow
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

from support import demo

NEEDS = ["longbow"]
PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"
TIMEOUT = 20


def stubs():
    """Python modules of the public protocol, by file name."""
    folder = tempfile.mkdtemp(prefix="longbow-stubs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    bundled = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    line = ["protoc", f"-I{PROTO}", f"-I{bundled}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files]
    assert protoc.main(line) == 0, "stock protoc refuses the protocol"
    sys.path.insert(0, folder)
    names = [file.removesuffix(".proto").replace("/", ".") for file in files if file.startswith("longbow/v1/")]
    modules = {name.split(".")[-1]: importlib.import_module(f"{name}_pb2") for name in names}
    modules |= {f"{name.split('.')[-1]}_rpc": importlib.import_module(f"{name}_pb2_grpc") for name in names}
    return type("Stubs", (), modules)


class Grpc(unittest.TestCase):
    """A dataset of points on a line: row n lies at (n, 1)."""

    ROWS = 200

    @classmethod
    def setUpClass(cls):
        cls.pb = stubs()
        cls.channel = grpc.insecure_channel(demo.running().data_addr)
        cls.datasets = cls.pb.dataset_rpc.DatasetServiceStub(cls.channel)
        cls.writes = cls.pb.write_rpc.WriteServiceStub(cls.channel)
        cls.searches = cls.pb.search_rpc.SearchServiceStub(cls.channel)
        cls.cluster = cls.pb.cluster_rpc.ClusterServiceStub(cls.channel)
        cls.create("line")
        cls.token = cls.upsert("line", [cls.row(n) for n in range(cls.ROWS)]).token

    @classmethod
    def create(cls, name, **more):
        d = cls.pb.dataset
        columns = [
            d.Column(name="id", kind=d.COLUMN_KIND_UINT64),
            d.Column(name="at", kind=d.COLUMN_KIND_VECTOR, vector=d.VectorType(dimension=2, metric=d.METRIC_L2)),
            d.Column(name="name", kind=d.COLUMN_KIND_UTF8, nullable=True),
            d.Column(name="parity", kind=d.COLUMN_KIND_INT32, nullable=True),
        ]
        request = d.CreateDatasetRequest(name=name, schema=d.Schema(columns=columns), **more)
        return cls.datasets.CreateDataset(request, timeout=TIMEOUT)

    @classmethod
    def row(cls, n, x=None):
        c = cls.pb.common
        columns = {"name": c.Value(utf8=f"row {n}"), "parity": c.Value(i64=n % 2)}
        return cls.pb.write.Row(id=c.RowId(u64=n), vector=c.Vector(values=[n if x is None else x, 1]), columns=columns)

    @classmethod
    def upsert(cls, dataset, rows, ack=0):
        request = cls.pb.write.UpsertRequest(dataset=dataset, rows=cls.pb.write.Rows(rows=rows), ack=ack)
        return cls.writes.Upsert(request, timeout=TIMEOUT)

    def search(self, x, k=3, dataset="line", **more):
        request = self.pb.search.SearchRequest(dataset=dataset, vector=self.pb.common.Vector(values=[x, 1]), k=k, **more)
        return self.searches.Search(request, timeout=TIMEOUT)

    def refused(self, status, reason, field, call):
        """The call is refused with a status, and details that say why."""
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        error = caught.exception
        self.assertEqual(error.code(), status, error)
        info = error_details_pb2.ErrorInfo()
        details = rpc_status.from_call(error)
        self.assertIsNotNone(details, "the status has no details")
        self.assertTrue(any(detail.Unpack(info) for detail in details.details), "no ErrorInfo")
        self.assertEqual((info.domain, info.reason), ("longbow", reason), error)
        self.assertIn(field, info.metadata.get("field", ""))
        return info

    def test_a_search_sees_a_write_that_was_acknowledged(self):
        response = self.upsert("line", [self.row(1000)])
        self.assertEqual((response.rows, response.ack), (1, self.pb.common.ACK_LEVEL_LOGGED))
        self.assertEqual(self.search(1000, k=1).hits[0].id.u64, 1000)
        level = self.pb.common.Consistency(at_least=response.token)
        self.assertEqual(self.search(1000, k=1, consistency=level).hits[0].id.u64, 1000)

    def test_a_search_ranks_by_distance(self):
        answer = self.search(50.2, k=4, columns=["name"])
        self.assertEqual([hit.id.u64 for hit in answer.hits], [50, 51, 49, 52])
        self.assertEqual(answer.hits[0].columns["name"].utf8, "row 50")
        self.assertAlmostEqual(answer.hits[0].distance, 0.2**2, places=3)
        self.assertAlmostEqual(answer.hits[0].score, 1 / 1.2, places=3)
        self.assertTrue(answer.freshness.token)
        self.assertFalse(answer.freshness.degraded)

    def test_a_search_near_a_row_leaves_that_row_out(self):
        request = self.pb.search.SearchRequest(dataset="line", id=self.pb.common.RowId(u64=7), k=2)
        self.assertEqual({hit.id.u64 for hit in self.searches.Search(request, timeout=TIMEOUT).hits}, {6, 8})

    def test_a_filter_keeps_to_what_matches(self):
        s = self.pb.search
        odd = s.Filter(compare=s.Comparison(column="parity", op=s.COMPARE_OP_EQ, value=self.pb.common.Value(i64=1)))
        answer = self.search(50, k=5, filter=odd)
        self.assertEqual({hit.id.u64 for hit in answer.hits[:4]}, {47, 49, 51, 53})
        self.assertEqual(len(answer.hits), 5)

    def test_rows_are_fetched_in_order_and_deleted(self):
        ids = [self.pb.common.RowId(u64=n) for n in (2000, 5, 99999, 3)]
        self.upsert("line", [self.row(2000)])
        request = self.pb.search.GetRowsRequest(dataset="line", ids=ids, columns=["*"], include_vector=True)
        rows = self.searches.GetRows(request, timeout=TIMEOUT).rows
        self.assertEqual([row.id.u64 for row in rows], [2000, 5, 3])
        self.assertEqual(list(rows[0].vector.values), [2000, 1])
        self.assertEqual(rows[1].columns["parity"].i64, 1)
        self.writes.Delete(self.pb.write.DeleteRequest(dataset="line", ids=ids[:1]), timeout=TIMEOUT)
        rows = self.searches.GetRows(request, timeout=TIMEOUT).rows
        self.assertEqual([row.id.u64 for row in rows], [5, 3])

    def test_arrow_is_taken_too(self):
        self.create("arrow", if_not_exists=True)
        rows = pyarrow.table({
            "name": ["a", "b"],
            "id": pyarrow.array([1, 2], pyarrow.uint64()),
            "at": pyarrow.array([[1, 1], [2, 1]], pyarrow.list_(pyarrow.float32(), 2)),
            "parity": pyarrow.array([1, None], pyarrow.int32()),
        })
        sink = io.BytesIO()
        with pyarrow.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        request = self.pb.write.UpsertRequest(dataset="arrow", arrow_ipc=sink.getvalue())
        self.assertEqual(self.writes.Upsert(request, timeout=TIMEOUT).rows, 2)
        hit = self.search(2, k=1, dataset="arrow", columns=["*"]).hits[0]
        self.assertEqual((hit.id.u64, hit.columns["name"].utf8), (2, "b"))

    def test_datasets_are_described_and_dropped(self):
        created = self.create("short-lived")
        self.assertTrue(created.created)
        self.assertEqual(created.dataset.schema_version, 1)
        listed = self.datasets.ListDatasets(self.pb.dataset.ListDatasetsRequest(with_counts=True), timeout=TIMEOUT)
        names = [dataset.name for dataset in listed.datasets]
        self.assertEqual(names, sorted(names))
        self.assertLessEqual({"line", "short-lived", "wordnet"}, set(names))
        self.datasets.DropDataset(self.pb.dataset.DropDatasetRequest(name="short-lived"), timeout=TIMEOUT)
        get = self.pb.dataset.GetDatasetRequest(name="short-lived")
        self.refused(
            grpc.StatusCode.NOT_FOUND, "DATASET_NOT_FOUND", "", lambda: self.datasets.GetDataset(get, timeout=TIMEOUT)
        )

    def test_refusals_say_what_and_how_much(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        self.refused(invalid, "INVALID_VALUE", "k", lambda: self.search(1, k=0))
        info = self.refused(invalid, "INVALID_VALUE", "k", lambda: self.search(1, k=10**9))
        self.assertIn("10000", info.metadata["limit"].replace(",", ""))
        row = self.row(1)
        row.vector.values.append(3)
        info = self.refused(invalid, "DIMENSION_MISMATCH", "vector", lambda: self.upsert("line", [row]))
        self.assertIn("2", info.metadata["limit"])
        row = self.row(1, x=float("nan"))
        self.refused(invalid, "INVALID_VECTOR", "vector", lambda: self.upsert("line", [row]))
        row = self.row(1)
        row.columns["nothing"].i64 = 1
        self.refused(invalid, "UNKNOWN_COLUMN", "nothing", lambda: self.upsert("line", [row]))
        row = self.row(1)
        row.columns["parity"].utf8 = "odd"
        self.refused(invalid, "TYPE_MISMATCH", "parity", lambda: self.upsert("line", [row]))
        junk = self.pb.write.UpsertRequest(dataset="line", arrow_ipc=b"junk" * 100)
        self.refused(invalid, "MALFORMED_ARROW", "", lambda: self.writes.Upsert(junk, timeout=TIMEOUT))
        exists = grpc.StatusCode.ALREADY_EXISTS
        self.refused(exists, "DATASET_EXISTS", "", lambda: self.create("line"))
        missing = grpc.StatusCode.NOT_FOUND
        self.refused(missing, "DATASET_NOT_FOUND", "", lambda: self.search(1, dataset="nowhere"))

    def test_a_deadline_is_kept(self):
        """Whoever notices first, client or server, the caller hears DEADLINE_EXCEEDED and never CANCELLED."""
        request = self.pb.search.SearchRequest(dataset="line", vector=self.pb.common.Vector(values=[1, 1]), k=1)
        codes = set()
        for _ in range(300):
            for timeout in (0.000001, 0.002):
                try:
                    self.searches.Search(request, timeout=timeout)
                except grpc.RpcError as error:
                    codes.add((error.code(), "CANCELLED" in error.details()))
        self.assertEqual(codes, {(grpc.StatusCode.DEADLINE_EXCEEDED, False)})

    def test_the_status_shows_every_role(self):
        status = self.cluster.GetClusterStatus(self.pb.cluster.GetClusterStatusRequest(), timeout=TIMEOUT)
        c = self.pb.cluster
        roles = [node.role for node in status.nodes if node.state == c.NODE_STATE_ALIVE]
        self.assertEqual(sorted(roles), [c.NODE_ROLE_ROUTER, c.NODE_ROLE_SHARD, c.NODE_ROLE_SHARD, c.NODE_ROLE_WAL_KEEPER])
        self.assertTrue(status.leader)
        self.assertFalse(status.latch.tripped)

    def test_health_and_reflection_answer(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
        self.assertIn("longbow.v1.SearchService", reflected(self.channel))


def reflected(channel):
    """Services that reflection lists, by whichever version is served."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = []
    for version in ("v1", "v1alpha"):
        method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        call = channel.stream_stream(
            method,
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        try:
            answers = list(call(iter([request]), timeout=TIMEOUT))
            break
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                raise
    return {service.name for answer in answers for service in answer.list_services_response.service}
