import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.workers.delta.layouts.writers import (
    Bytes,
    Sparse,
    field,
    onnx_external,
    onnx_model,
    onnx_tensor,
    varint,
)
from workers.delta.layouts import ExternalTensor, MalformedFile, read_layout
from workers.delta.layouts.formats.onnx_tensor import DTYPES


def error_of(raw):
    with pytest.raises(MalformedFile) as caught:
        read_layout(raw if isinstance(raw, Sparse) else Bytes(raw))
    assert caught.value.format == "onnx"
    return caught.value


def real_model(*, nodes=(), initializers=()):
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    graph = helper.make_graph(list(nodes), "g", [], [output], list(initializers))
    return helper.make_model(graph, producer_name="maker", producer_version="1.2")


def contents(raw):
    return {tensor.name: raw[tensor.offset :][: tensor.size] for tensor in read_layout(Bytes(raw)).tensors}


def node(*fields):
    return field(1, b"".join(fields))


def test_initializers_of_a_real_model_are_found_at_their_offsets():
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    codes = np.arange(5, dtype=np.int8)
    model = real_model(
        initializers=[numpy_helper.from_array(weights, "w"), numpy_helper.from_array(codes, "q")]
    )
    raw = model.SerializeToString()
    layout = read_layout(Bytes(raw))
    assert layout.format == "onnx"
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in layout.tensors] == [
        ("w", "f32", (3, 4)),
        ("q", "i8", (5,)),
    ]
    assert contents(raw) == {"w": weights.tobytes(), "q": codes.tobytes()}
    assert layout.metadata["producer_name"] == "maker"
    assert layout.metadata["ir_version"] == str(model.ir_version)


def test_constants_and_tensors_of_subgraphs_are_named_by_their_path():
    constant = helper.make_node(
        "Constant", [], ["c"], value=numpy_helper.from_array(np.zeros(3, np.int8), "")
    )
    output = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])]
    inner = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "inner",
        [],
        output,
        [numpy_helper.from_array(np.ones(2, np.float32), "w")],
    )
    branch = helper.make_node("If", ["k"], ["out"], then_branch=inner, else_branch=inner)
    raw = real_model(nodes=[constant, branch]).SerializeToString()
    assert set(contents(raw)) == {"c/value", "out/then_branch/w", "out/else_branch/w"}


def test_tensors_in_typed_fields_are_not_listed():
    typed = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    assert read_layout(Bytes(real_model(initializers=[typed]).SerializeToString())).tensors == ()


def test_external_data_of_a_real_model_is_listed_but_not_opened(tmp_path):
    weights = np.arange(1000, dtype=np.float32)
    model = real_model(initializers=[numpy_helper.from_array(weights, "w")])
    onnx.save_model(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    layout = read_layout(Bytes((tmp_path / "m.onnx").read_bytes()))
    assert layout.tensors == ()
    (tensor,) = layout.external
    assert (tensor.name, tensor.dtype, tensor.shape, tensor.location) == ("w", "f32", (1000,), "m.data")
    assert (tmp_path / "m.data").read_bytes()[tensor.offset :][: tensor.size] == weights.tobytes()
    assert layout.metadata["external:0"] == "m.data"


def test_every_data_type_has_the_number_of_the_real_schema():
    names = {number: name for name, number in TensorProto.DataType.items()}
    assert set(DTYPES) == set(names) - {TensorProto.UNDEFINED, TensorProto.STRING}
    raw = onnx_model(field(5, onnx_tensor(dims=(3,), kind=TensorProto.INT4, raw=b"ab")))
    assert read_layout(Bytes(raw)).tensors[0].dtype == "i4"


def test_an_unknown_data_type_is_bytes():
    (tensor,) = read_layout(Bytes(onnx_model(field(5, onnx_tensor(kind=200, raw=b"abc"))))).tensors
    assert (tensor.dtype, tensor.shape, tensor.size) == ("bytes", (3,), 3)


def test_packed_dimensions_are_read_like_repeated_ones():
    tensor = field(1, varint(2) + varint(300)) + field(2, 2) + field(8, b"w") + field(9, bytes(600))
    assert read_layout(Bytes(onnx_model(field(5, tensor)))).tensors[0].shape == (2, 300)


def test_weights_are_skipped_and_not_read():
    size = 4 << 30
    tensor = field(1, size) + field(2, 2) + field(8, b"w") + varint(9 << 3 | 2) + varint(size)
    graph = varint(5 << 3 | 2) + varint(len(tensor) + size) + tensor
    head = field(1, 10) + varint(7 << 3 | 2) + varint(len(graph) + size) + graph
    reader = Sparse(head, len(head) + size)
    assert read_layout(reader).tensors[0].size == size
    assert reader.taken < 50_000


@pytest.mark.parametrize(
    "location", ["../w", "a/../../w", "/etc/passwd", "", "..\\w", "C:\\w", "C:w", "\\w", "a\nb"]
)
def test_external_data_outside_the_model_directory_is_refused(location):
    assert error_of(onnx_model(field(5, onnx_external(location=location)))).code == "unsafe_path"


def test_external_data_in_a_subdirectory_is_allowed():
    raw = onnx_model(field(5, onnx_external(location="sub/w.bin", offset=4096, length=4)))
    assert read_layout(Bytes(raw)).external == (ExternalTensor("w", "u8", (4,), "sub/w.bin", 4096, 4),)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (field(5, onnx_tensor(raw=b"abc")), "size_mismatch"),
        (field(5, onnx_tensor(dims=(1 << 40, 1 << 40))), "size_mismatch"),
        (field(5, onnx_tensor(dims=((1 << 64) - 1,))), "bad_shape"),
        (field(5, onnx_tensor(dims=(1,) * 65)), "bad_shape"),
        (field(5, onnx_tensor(kind=0)), "unknown_dtype"),
        (field(5, onnx_tensor(kind=TensorProto.STRING)), "unknown_dtype"),
        (field(5, onnx_tensor(kind=1 << 40)), "unknown_dtype"),
        (field(5, onnx_tensor("w" * 1025)), "bad_name"),
        (field(5, onnx_tensor("w\x00")), "bad_name"),
        (field(5, onnx_tensor()) * 2, "duplicate_name"),
        (field(5, onnx_external(length=5)), "size_mismatch"),
        (field(5, onnx_external(offset=-1)), "bad_external_data"),
        (field(5, onnx_external(offset="9" * 30)), "bad_external_data"),
        (field(5, varint(9 << 3 | 2) + varint(1 << 60)), "truncated"),
        (field(5, varint(9 << 3 | 3)), "bad_field"),
        (field(5, b"\x00\x00"), "bad_field"),
        (field(5, b"\x08" + b"\xff" * 10), "bad_varint"),
    ],
)
def test_a_malformed_tensor_is_refused_with_a_code(fields, code):
    assert error_of(onnx_model(fields)).code == code


def test_the_nesting_depth_of_graphs_is_limited():
    graph = b""
    for _ in range(100):
        graph = node(field(5, field(1, b"g") + field(6, graph)))
    assert error_of(onnx_model(graph)).code == "nested_too_deep"


def test_a_model_truncated_in_its_graph_is_malformed_and_not_opaque():
    raw = real_model(
        initializers=[numpy_helper.from_array(np.zeros(100, np.float32), "w")]
    ).SerializeToString()
    assert error_of(raw[:-100]).code == "truncated"


@pytest.mark.parametrize(
    "raw",
    [
        field(1, 3) + field(2, b"meta graph"),
        field(1, 10) + field(2, b"no graph"),
        field(7, node(field(4, b"Add"))),
        field(1, 10) + field(7, b""),
        field(1, 10) + field(3, 5) + field(7, b"x"),
        b"\x08",
        b"\x08\x0a",
    ],
)
def test_other_protocol_buffers_are_opaque(raw):
    assert read_layout(Bytes(raw)).format == "opaque"


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10),
        st.tuples(
            st.sampled_from(["float32", "int8", "float16", "int64"]), st.lists(st.integers(0, 4), max_size=3)
        ),
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_real_writer_writes_is_found_again(shapes):
    arrays = {name: np.ones(shape, dtype) for name, (dtype, shape) in shapes.items()}
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    raw = real_model(initializers=initializers).SerializeToString()
    assert contents(raw) == {name: array.tobytes() for name, array in arrays.items()}
