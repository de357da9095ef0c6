"""Attention as a model: ONNX's Attention operator by its names, and every other field of the contract by its own.

ONNX's names have ONNX's meaning: queries stand where its offset says, unless `alignment` is given. Where only names of
the contract are used, what has two readings is refused, as everywhere.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from qkv import Violation, codec
from qkv.third_party.open_inference_pb2 import InferParameter, ModelInferRequest, ModelInferResponse
from qkv.v1 import attention_pb2
from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse
from qkv.v1.tensor_pb2 import Operand
from qkv.wire import Draft, Received, data_of
from qkv_server.service.calls import METHODS
from qkv_server.service.errors import InvalidRequestError
from qkv_server.service.limits import Limits
from qkv_server.service.workers import Prepared, Turn
from qkv_server.transport.oip import contents, fields
from qkv_server.transport.oip.fields import Field
from qkv_server.transport.oip.models import ANY, Metadata, TensorMetadata

NAME = "attention"
VERSION = "1"

# What ONNX calls fields of the contract.
INPUTS = {"Q": "query", "K": "key", "V": "value", "attn_mask": "mask", "nonpad_kv_seqlen": "key_lengths"}
PARAMETERS = {
    "is_causal": "causal",
    "q_num_heads": "heads",
    "kv_num_heads": "kv_heads",
    "left_window_size": "window_left",
    "right_window_size": "window_right",
}
POSITIONED = ("is_causal", "left_window_size", "right_window_size")  # what ONNX measures from its own offset
UNBOUNDED = -1  # a window of ONNX's

OUTPUT = "Y"
SCORES = "qk_matmul_output"
MODE = "qk_matmul_output_mode"
MODES = ("scores", "capped_scores", "masked_scores", "weights")
QUANTITIES = [each.name for each in AttentionResponse.DESCRIPTOR.fields if each.message_type is Operand.DESCRIPTOR]

# Triton's clients ask with it for a last response without content; here every response is the last of its request.
IGNORED = "triton_enable_empty_final_response"

NO_INPUT = "is no input of this model, expected one of " + ", ".join(dict.fromkeys((*INPUTS, *fields.INPUTS)))
NO_PARAMETER = "is no parameter of this model, expected one that its ModelConfig lists"

# What violations call the fields of the contract, until a request calls them by another name.
CALLED = {field.dotted: field.name for field in fields.FIELDS}
CALLED |= {fields.INPUTS[ours].dotted: theirs for theirs, ours in INPUTS.items()}


class AttentionModel:
    """The model `attention`."""

    def metadata(self) -> Metadata:
        """What it takes and gives. Types are those of most callers; FP64, FP16 and BF16 are taken as well."""
        heads_first, scores = (ANY,) * 4, (ANY,) * 4
        return Metadata(
            NAME,
            VERSION,
            inputs=[
                TensorMetadata("Q", "FP32", heads_first),
                TensorMetadata("K", "FP32", heads_first, optional=True),
                TensorMetadata("V", "FP32", heads_first, optional=True),
                TensorMetadata("attn_mask", "BOOL", scores, optional=True),
                TensorMetadata("past_key", "FP32", heads_first, optional=True),
                TensorMetadata("past_value", "FP32", heads_first, optional=True),
                TensorMetadata("nonpad_kv_seqlen", "INT64", (ANY,), optional=True),
            ],
            outputs=[
                TensorMetadata(OUTPUT, "FP32", heads_first),
                TensorMetadata("present_key", "FP32", heads_first),
                TensorMetadata("present_value", "FP32", heads_first),
                TensorMetadata(SCORES, "FP32", scores),
            ],
            parameters={
                **{name: field.kind for name, field in fields.PARAMETERS.items()},
                **{theirs: fields.PARAMETERS[ours].kind for theirs, ours in PARAMETERS.items()},
                MODE: f"one of {', '.join(map(str, range(len(MODES))))}",
            },
        )

    def infer(self, request: Received[ModelInferRequest], limits: Limits, arrived: float) -> Prepared:
        """Prepare a request: a call of AttentionService.Attend, asked and answered in other words."""
        question = _Question(request)
        question.read()
        with question.refusals_in_its_words():
            prepared = METHODS["Attend"].prepare(Received(question.asked, question.apart), limits, arrived)
        return Prepared(partial(question.answer, prepared), prepared.tiny)


@dataclass(slots=True)
class _Question:
    """A request on its way to the contract, and its answer on the way back."""

    request: Received[ModelInferRequest]
    asked: AttentionRequest = field(default_factory=AttentionRequest)
    apart: dict[str, memoryview] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)  # fields of the response by the names they were asked by
    called: dict[str, str] = field(default_factory=dict)  # what the request calls the fields of the contract
    violations: list[Violation] = field(default_factory=list)

    def read(self) -> None:
        """Fill what is asked; raises InvalidRequestError naming every input, parameter and output that is wrong."""
        message = self.request.message
        raw: Sequence[memoryview | None] = tuple(self.request.apart.values())
        if raw and len(raw) != len(message.inputs):
            self._note(
                "raw_input_contents", f"has {len(raw)} entries, expected one for each of {len(message.inputs)} inputs"
            )
        else:
            for tensor, data in zip(message.inputs, raw or (None,) * len(message.inputs), strict=True):
                self._read_input(tensor, data)
        mode = self._read_parameters()
        self._read_outputs(mode)
        if self.violations:
            raise InvalidRequestError(self.violations)

    def answer(self, prepared: Prepared, turn: Turn) -> Draft[Any]:
        """The response, in the form of the question: raw, or typed where all of it has typed contents."""
        answer: Draft[Any] = prepared.answer(turn)
        message = self.request.message
        response = ModelInferResponse(model_name=NAME, model_version=VERSION, id=message.id)
        operands = {name: getattr(answer.message, quantity) for name, quantity in self.outputs.items()}
        data = {name: _data(answer, self.outputs[name]) for name in operands}
        for name, operand in operands.items():
            datatype = contents.NAMES[operand.tensor.data_type]
            response.outputs.add(name=name, datatype=datatype, shape=operand.tensor.shape)
        report = answer.message.report
        response.parameters["path"].string_param = report.path
        response.parameters["queue_seconds"].double_param = report.queue_seconds
        response.parameters["compute_seconds"].double_param = report.compute_seconds
        if self.request.apart or not all(output.datatype in contents.TYPED for output in response.outputs):
            return Draft(response, data)
        for output in response.outputs:
            array = codec.from_operand(operands[output.name], output.name, data[output.name])
            contents.fill_typed(output.contents, output.datatype, array)
        return Draft(response)

    @contextmanager
    def refusals_in_its_words(self) -> Iterator[None]:
        """Let violations name inputs and parameters as the request does."""
        try:
            yield
        except InvalidRequestError as error:
            raise InvalidRequestError([self._in_its_words(violation) for violation in error.violations]) from None

    def _in_its_words(self, violation: Violation) -> Violation:
        path, rest = violation.field, ""
        while path:
            if path in (called := CALLED | self.called):
                return Violation(called[path] + rest.removeprefix(".tensor"), violation.description)
            path, dot, last = path.rpartition(".")
            rest = f"{dot}{last}{rest}"
        return violation

    def _read_input(self, tensor: ModelInferRequest.InferInputTensor, data: memoryview | None) -> None:
        name = tensor.name
        found = self._field(name, INPUTS, fields.INPUTS, NO_INPUT)
        if found is None:
            return
        if tensor.parameters:
            self._note(name, f"has the parameter {min(tensor.parameters)!r}, expected none: no shared memory here")
        if data is not None and tensor.HasField("contents"):
            self._note(name, "has contents, expected none beside raw_input_contents")
            return
        if tensor.datatype not in contents.DATATYPES:
            self._note(name, f"has datatype {tensor.datatype!r}, expected one of {', '.join(contents.DATATYPES)}")
            return
        try:
            data = contents.read_typed(tensor.contents, tensor.datatype) if data is None else data
        except ValueError as error:
            self._note(name, str(error))
            return
        operand = Operand() if found.last.is_repeated else getattr(found.enclosing(self.asked), found.last.name)
        operand.tensor.data_type = contents.DATATYPES[tensor.datatype]
        operand.tensor.shape.extend(tensor.shape)
        if found.last.is_repeated:
            self._read_list(found, name, operand, data)
        else:
            self.apart[data_of(found.dotted)] = data

    def _read_list(self, found: Field, name: str, operand: Operand, data: memoryview) -> None:
        violations, array = codec.decode(operand, name, data)
        self.violations += violations
        if violations or array is None:
            return
        kinds, expected = ("f", "floating") if found.last.cpp_type == found.last.CPPTYPE_DOUBLE else ("iu", "integer")
        if array.ndim != 1 or array.dtype.kind not in kinds:
            self._note(name, f"is {array.dtype.name} of rank {array.ndim}, expected a {expected} type of rank 1")
            return
        getattr(found.enclosing(self.asked), found.last.name).extend(array.tolist())

    def _read_parameters(self) -> str:
        """Fill in the parameters; the quantity that ONNX's mode asks for."""
        mode = MODES[0]
        for name, parameter in sorted(self.request.message.parameters.items()):
            if name == MODE:
                mode = self._mode(parameter)
            elif name != IGNORED:
                self._read_parameter(name, parameter)
        positioned = any(name in self.called.values() for name in POSITIONED)
        if positioned and not self.asked.visibility.alignment:
            last = bool(self.asked.visibility.key_lengths)
            alignment = attention_pb2.ALIGNMENT_BOTTOM_RIGHT if last else attention_pb2.ALIGNMENT_TOP_LEFT
            self.asked.visibility.alignment = alignment
        return mode

    def _mode(self, parameter: InferParameter) -> str:
        if parameter.HasField("int64_param") and 0 <= parameter.int64_param < len(MODES):
            return MODES[parameter.int64_param]
        self._note(MODE, f"expected an integer, one of {', '.join(map(str, range(len(MODES))))}")
        return MODES[0]

    def _read_parameter(self, name: str, parameter: InferParameter) -> None:
        found = self._field(name, PARAMETERS, fields.PARAMETERS, NO_PARAMETER)
        if found is None or (name in PARAMETERS and parameter.int64_param == UNBOUNDED and "window" in name):
            return
        try:
            found.set(self.asked, parameter)
        except ValueError as error:
            self._note(name, str(error))

    def _read_outputs(self, mode: str) -> None:
        quantities = {OUTPUT: "output", SCORES: mode} | {name: name for name in QUANTITIES}
        for output in self.request.message.outputs:
            name = output.name
            if name not in quantities:
                self._note(name, f"is no output of this model, expected one of {', '.join(quantities)}")
            elif name in self.outputs:
                self._note(name, "is asked for twice as an output")
            elif output.parameters:
                self._note(name, f"has the parameter {min(output.parameters)!r}, expected none")
            else:
                self.outputs[name] = quantities[name]
        self.outputs = self.outputs or {OUTPUT: "output"}
        asked = {f"QUANTITY_{quantity.upper()}" for quantity in self.outputs.values() if quantity != "output"}
        self.asked.MergeFrom(AttentionRequest(outputs=sorted(asked)))

    def _field(self, name: str, theirs: dict[str, str], ours: dict[str, Field], unknown: str) -> Field | None:
        """The field that a name means, which is remembered for it; None, with a violation, if there is none to set."""
        found = ours.get(theirs.get(name, name))
        if found is None:
            self._note(name, unknown)
            return None
        other = self.called.get(found.dotted) or found.excluded_by(self.asked)
        if other is not None:
            self._note(name, f"is given beside {other}, expected one of them")
            return None
        self.called[found.dotted] = name
        return found

    def _note(self, field: str, description: str) -> None:
        self.violations.append(Violation(field, description))


def _data(draft: Draft[Any], name: str) -> memoryview:
    """The bytes of a tensor of a response, wherever they are."""
    apart = draft.apart or {}
    data = apart.get(data_of(name))
    return data if data is not None else memoryview(getattr(draft.message, name).tensor.data)
