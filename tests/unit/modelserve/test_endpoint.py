"""A version behind an endpoint answers as one in memory, with ONNX Runtime in Triton's place."""

import json
import re
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from modelserve.dataplane import DataPlane
from modelserve.endpoint import EndpointModel, Manifests
from modelserve.endpoints import Endpoints
from modelserve.errors import (
    DeadlineExceeded,
    EndpointUnavailable,
    InvalidInput,
    ModelFailed,
    PayloadTooLarge,
    RegistryError,
    UnexpectedAnswer,
    UnverifiedModel,
)
from modelserve.manifest import Manifest, TensorSpec, archive_version, read_alias
from modelserve.record import replace
from modelserve.sagemaker import Endpoint
from modelserve.session import Session
from modelserve.signature import SigningKey
from modelserve.tensors import Tensor, encode_bytes
from modelserve.triton import CONTENT_TYPE

from .factories import VERSION, document, error_of, manifest, post, server, tensor
from .graphs import graph, identity, session, value
from .signers import ARN, LocalSigner
from .stores import MemoryStore, Publisher

TARGET = "sample/versions/20261120T174100Z-1a2b3c4d/model.tar.gz"


class Triton(Endpoint):
    """An endpoint whose container runs `ran`; `failing` is raised in its place, `seen` are the inputs it got."""

    def __init__(self, ran: Session, *, batched: bool) -> None:
        self.name = "serverless-onnx-dev"
        self._ran = ran
        self._batched = batched
        self.failing: Exception | None = None
        self.shape: list[int] | None = None
        """What the first output is said to have."""
        self.seen: list[tuple[str | None, list[Tensor]]] = []

    def invoke(self, content_type: str, body: bytes, target_model: str | None, *, seconds: float) -> tuple[str, bytes]:
        assert seconds > 0
        size = int(content_type.removeprefix(CONTENT_TYPE))
        document, offset = json.loads(body[:size]), size
        ranks = {spec.name: len(spec.shape) for spec in self._ran.inputs}
        inputs = []
        for item in document["inputs"]:
            end = offset + item["parameters"]["binary_data_size"]
            inputs.append(Tensor(item["name"], item["datatype"], tuple(item["shape"][: ranks[item["name"]]]), body[offset:end]))
            offset = end
        self.seen.append((target_model, inputs))
        if self.failing:
            raise self.failing
        outputs = self._ran.run(inputs, [item["name"] for item in document["outputs"]], seconds=5)
        return self._answer(outputs[::-1])  # in no order of ours

    def _answer(self, outputs: list[Tensor]) -> tuple[str, bytes]:
        datas = [data(each) for each in outputs]
        described = [
            {
                "name": each.name,
                "datatype": each.datatype,
                "shape": self.shape or [*each.shape, *[1] * (len(each.shape) == self._batched)],
                "parameters": {"binary_data_size": len(data)},
            }
            for each, data in zip(outputs, datas, strict=True)
        ]
        header = json.dumps({"model_name": "hash", "model_version": str(archive_version(VERSION[-8:])), "outputs": described}).encode()
        return f"{CONTENT_TYPE}{len(header)}", header + b"".join(datas)


def model(graph: bytes | Session | None = None, *, max_batch: int = 32, **how: Any) -> tuple[EndpointModel, Triton]:
    ran = session(graph or identity()) if graph is None or isinstance(graph, bytes) else graph
    triton = Triton(ran, batched=max_batch > 0)
    published = replace(manifest(labels=("a", "b", "c")), inputs=ran.inputs, outputs=ran.outputs, max_batch=max_batch)
    return EndpointModel(published, triton, **how), triton


def routes(answering: EndpointModel) -> Endpoints:
    return Endpoints("sample", DataPlane(lambda _version: answering), server_version="1", max_body_bytes=2**25)


def data(tensor: Tensor) -> bytes:
    return bytes(memoryview(tensor.data).cast("B"))


def rows(count: int, columns: int = 3) -> Tensor:
    return Tensor("x", "FP32", (count, columns), np.arange(count * columns, dtype="<f4").data)


# As in memory


REQUESTS = {
    "numbers": (identity(), tensor([0.1, 1e-7, 16777216.0, 3.4e38, 1 / 3, -0.0], shape=(2, 3))),
    "text": (identity("BYTES", ("rows", 1)), tensor(["ünï", ""], datatype="BYTES", shape=(2, 1))),
    "a column": (identity("INT64", ("rows",)), tensor([1, -(2**63)], datatype="INT64", shape=(2,))),
    "booleans": (identity("BOOL", ("rows", 2)), tensor([True, False], datatype="BOOL", shape=(1, 2))),
    "doubles": (identity("FP64", ("rows", 1)), tensor([0.1], datatype="FP64", shape=(1, 1))),
}
ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "named": {"id": "7", "outputs": [{"name": "y"}]},
    "binary": {"parameters": {"binary_data_output": True}},
}


@pytest.mark.parametrize("max_batch", [0, 32])
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize(("graph", "sent"), REQUESTS.values(), ids=REQUESTS)
def test_the_answer_is_the_one_from_memory_to_the_byte(graph, sent, asked, max_batch):
    answering, _ = model(graph, max_batch=max_batch)
    expected = post(server(graph, labels=("a", "b", "c")), document(sent, **asked))

    found = post(routes(answering), document(sent, **asked))

    assert (found.status, found.headers, found.body) == (200, expected.headers, expected.body)


TEXT = identity("BYTES", ("rows", 1))


def text(count: int) -> dict[str, Any]:
    return {"name": "x", "datatype": "BYTES", "shape": [count, 1], "parameters": {"binary_data_size": 5}}


@pytest.mark.parametrize(
    ("graph", "sent", "binary"),
    [
        (identity(), tensor([1.0, float("nan"), 2.0]), b""),
        (identity("FP64", ("rows", 1)), tensor([float("inf")], datatype="FP64", shape=(1, 1)), b""),
        (TEXT, text(2), encode_bytes([b"a"])),
        (TEXT, text(1), encode_bytes([b"\xff"])),
    ],
    ids=["NaN", "infinity", "too few elements", "no UTF-8"],
)
def test_what_a_signature_can_not_rule_out_is_refused_in_the_same_words(graph, sent, binary):
    body = json.dumps(document(sent)).encode()
    answering, triton = model(graph, refuse_nan=True)

    found = post(routes(answering), body + binary, header_length=len(body))

    assert error_of(found) == error_of(post(server(session(graph, refuse_nan=True)), body + binary, header_length=len(body)))
    assert triton.seen == []


def test_a_raw_body_is_sent_with_its_shape():
    """Triton takes one for a single row."""
    answering, triton = model()

    assert post(routes(answering), bytes(24), header_length=0).status == 200
    assert triton.seen[0][1][0].shape == (2, 3)


def test_the_version_and_not_the_endpoints_name_for_it_answers():
    answering, triton = model()

    found = json.loads(post(routes(answering), document()).body)

    assert (found["model_name"], found["model_version"]) == ("sample", "20261120T174100Z-1a2b3c4d")
    assert triton.seen[0][0] == TARGET


# More than fits


@pytest.mark.parametrize(("count", "parts"), [(32, [32]), (33, [32, 1]), (96, [32, 32, 32])])
def test_more_rows_than_a_batch_go_in_parts_and_come_back_as_one(count, parts):
    answering, triton = model()

    (found,) = answering.run([rows(count)], ["y"], seconds=5)

    assert [seen[0].shape[0] for _, seen in triton.seen] == parts
    assert (found.shape, data(found)) == ((count, 3), data(rows(count)))


def test_a_request_is_at_most_what_sagemaker_takes():
    answering, triton = model(identity(shape=("rows", "columns")))

    (found,) = answering.run([rows(5, 2**19)], ["y"], seconds=30)  # 2 MiB each

    assert [seen[0].shape[0] for _, seen in triton.seen] == [2, 1, 2]
    assert found.shape == (5, 2**19)


@pytest.mark.parametrize(("max_batch", "says"), [(0, "the input is larger than"), (32, "one row is larger than")])
def test_what_can_not_be_cut_is_refused(max_batch, says):
    answering, triton = model(identity(shape=("rows", "columns")), max_batch=max_batch)

    with pytest.raises(PayloadTooLarge, match=says):
        answering.run([rows(1, 3 * 2**19)], ["y"], seconds=5)
    assert triton.seen == []


def test_without_a_batch_nothing_is_cut():
    answering, triton = model(max_batch=0)

    answering.run([rows(100)], ["y"], seconds=5)

    assert len(triton.seen) == 1


def test_more_parts_than_end_in_time_are_refused_before_the_first():
    answering, triton = model(max_batch=1)
    with pytest.raises(InvalidInput, match=r"has 501 rows, and model 'sample' takes 1 at a time; send at most 500 at once"):
        answering.run([Tensor("x", "FP32", (501, 3), bytes(4 * 501 * 3))], ["y"], seconds=5)
    assert triton.seen == []


def test_parts_end_with_the_one_that_makes_the_answer_too_large():
    """All of them would be held in memory, and then refused."""
    wide = graph(
        [helper.make_node("Expand", ["x", "to"], ["y"])],
        [value("x", "FP32", ("rows", 1))],
        [value("y", "FP32", ("rows", 2**21))],
        [helper.make_tensor("to", TensorProto.INT64, [2], [1, 2**21])],
    )
    answering, triton = model(wide, max_batch=1)
    with pytest.raises(PayloadTooLarge, match="the answer is larger than 6,291,456 bytes"):
        answering.run([Tensor("x", "FP32", (100, 1), bytes(400))], ["y"], seconds=60)
    assert len(triton.seen) == 4


def test_the_time_is_for_all_parts_together():
    now = iter([0.0, 1.0, 2.0, 6.0, 7.0])
    answering, triton = model(clock=lambda: next(now))

    with pytest.raises(DeadlineExceeded, match="within 5 s"):
        answering.run([rows(64)], ["y"], seconds=5)
    assert len(triton.seen) == 1


class Square:
    """A session whose outputs have as many columns as there are rows."""

    inputs: tuple[TensorSpec, ...] = (TensorSpec(name="x", datatype="FP32", shape=(-1, -1)),)
    outputs = inputs

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        count = inputs[0].shape[0]
        return [Tensor(name, "FP32", (count, count), bytes(4 * count * count)) for name in outputs]

    def warm_up(self, *, seconds: float) -> None:
        """Nothing to warm."""


def test_parts_whose_answers_differ_in_shape_are_told():
    answering, _ = model(Square())

    with pytest.raises(ModelFailed, match=r"output 'x' has shape \[32, 32\] for some rows and \[1, 1\] for others; send at most 32 rows"):
        answering.run([rows(33)], ["x"], seconds=5)


def test_an_answer_of_other_rows_than_the_request_is_not_believed():
    answering, triton = model(identity(shape=("rows", "columns")))
    triton.shape = [1, 6]

    with pytest.raises(UnexpectedAnswer, match="other rows than the 2 of the request"):
        answering.run([rows(2)], ["y"], seconds=5)


# Readiness


def test_it_is_ready_when_it_answers_a_made_row():
    answering, triton = model(identity("BYTES", ("rows", 2)))

    answering.ready(seconds=5)

    ((_, (made,)),) = triton.seen
    assert (made.shape, data(made)) == ((1, 2), bytes(8))


def test_it_is_asked_again_only_when_its_last_answer_is_old():
    now = [1000.0]
    answering, triton = model(clock=lambda: now[0])
    answering.run([rows(1)], ["y"], seconds=5)

    for now[0], asked in ((1029.9, 1), (1030.0, 2), (1031.0, 2), (1060.0, 3)):
        answering.ready(seconds=5)
        assert len(triton.seen) == asked


def test_an_endpoint_that_does_not_answer_is_not_ready():
    answering, triton = model()
    triton.failing = EndpointUnavailable("e", "x")

    for _ in range(2):
        with pytest.raises(EndpointUnavailable):
            answering.ready(seconds=5)
    with pytest.raises(EndpointUnavailable):
        answering.warm_up(seconds=5)


def test_a_graph_that_refuses_just_a_made_row_is_ready():
    answering, triton = model()
    triton.failing = ModelFailed("sample", "x")

    for _ in range(2):
        answering.ready(seconds=5)

    assert len(triton.seen) == 1


def test_a_queue_is_not_asked():
    """It would start an instance."""
    answering, triton = model(max_batch=0, queued=True)

    answering.warm_up(seconds=5)
    answering.ready(seconds=5)

    assert triton.seen == []


def test_a_queue_gets_the_whole_request_checked():
    answering, _ = model(max_batch=0, queued=True, refuse_nan=True)

    content_type, body = answering.request([rows(100)], ["y"])

    assert body[int(content_type.removeprefix(CONTENT_TYPE)) :] == data(rows(100))
    with pytest.raises(InvalidInput, match="NaN or infinity"):
        answering.request([Tensor("x", "FP32", (1, 3), np.full(3, np.nan, "<f4").data)], ["y"])


# What an alias names


class Shop:
    """A store with one version in it, made for an endpoint unless told otherwise."""

    def __init__(self, folder: Any, *, max_batch: int | None = 8, signer: LocalSigner | None = None) -> None:
        self.store = MemoryStore()
        publisher = Publisher(self.store, folder, signer=signer)
        self.version = publisher.publish(b"one")
        key = f"models/sample/versions/{self.version}/manifest.json"
        if max_batch is not None:
            altered = Manifest.from_json(self.store.objects[key][-1], what=key)
            self.store.alter(key, replace(altered, max_batch=max_batch).to_json())
        publisher.promote(self.version)
        self.key = key
        self.alias, _ = read_alias(self.store, "sample", "production")

    def load(self, **how: Any) -> EndpointModel:
        triton = Triton(session(identity()), batched=True)
        return Manifests(self.store, triton, **how)(self.alias)


def test_a_model_is_made_of_its_manifest_and_no_file_is_fetched(tmp_path):
    shop = Shop(tmp_path)
    shop.store.calls.clear()

    made = shop.load()

    assert (made.name, made.version, made.inputs) == ("sample", shop.version, (TensorSpec(name="x", datatype="FP32", shape=(-1, 3)),))
    assert made.load_seconds > 0
    assert shop.store.calls == [("get", shop.key)]


def test_a_version_for_lambda_alone_says_how_to_publish_it(tmp_path):
    with pytest.raises(RegistryError, match=r'has no model\.tar\.gz, which its endpoint loads; publish it again with target = "gpu"'):
        Shop(tmp_path, max_batch=None).load()


@pytest.mark.parametrize("max_batch", [None, 8])
def test_a_queue_takes_only_what_was_published_for_one(tmp_path, max_batch):
    told = "has no model.tar.gz" if max_batch is None else '`modelctl publish sample` with mode = "async" in its model.toml'
    with pytest.raises(RegistryError, match=re.escape(told)):
        Shop(tmp_path, max_batch=max_batch).load(queued=True)


def test_an_altered_manifest_is_not_believed(tmp_path):
    shop = Shop(tmp_path)
    shop.store.alter(shop.key, shop.store.objects[shop.key][-1] + b" ")

    with pytest.raises(UnverifiedModel):
        shop.load()


def test_a_manifest_is_signed_where_that_is_asked_for(tmp_path):
    signer = LocalSigner()
    key = SigningKey(ARN, signer.call)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    assert Shop(tmp_path / "a", max_batch=None, signer=signer).alias.signature
    with pytest.raises(UnverifiedModel, match="no signature"):
        Shop(tmp_path / "b").load(verifier=key)
