from qkv.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Quantity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUANTITY_UNSPECIFIED: _ClassVar[Quantity]
    QUANTITY_SCORES: _ClassVar[Quantity]
    QUANTITY_CAPPED_SCORES: _ClassVar[Quantity]
    QUANTITY_MASKED_SCORES: _ClassVar[Quantity]
    QUANTITY_WEIGHTS: _ClassVar[Quantity]
    QUANTITY_AVERAGED_WEIGHTS: _ClassVar[Quantity]
    QUANTITY_LOG_SUM_EXP: _ClassVar[Quantity]
    QUANTITY_PRESENT_KEY: _ClassVar[Quantity]
    QUANTITY_PRESENT_VALUE: _ClassVar[Quantity]

class Path(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PATH_UNSPECIFIED: _ClassVar[Path]
    PATH_REFERENCE: _ClassVar[Path]
    PATH_BATCHED: _ClassVar[Path]
    PATH_TILED: _ClassVar[Path]
    PATH_DECODE: _ClassVar[Path]

class AxisOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AXIS_ORDER_UNSPECIFIED: _ClassVar[AxisOrder]
    AXIS_ORDER_HEADS_FIRST: _ClassVar[AxisOrder]
    AXIS_ORDER_SEQUENCE_FIRST: _ClassVar[AxisOrder]

class MaskPolarity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MASK_POLARITY_UNSPECIFIED: _ClassVar[MaskPolarity]
    MASK_POLARITY_TRUE_ATTENDS: _ClassVar[MaskPolarity]
    MASK_POLARITY_TRUE_HIDES: _ClassVar[MaskPolarity]

class Alignment(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALIGNMENT_UNSPECIFIED: _ClassVar[Alignment]
    ALIGNMENT_TOP_LEFT: _ClassVar[Alignment]
    ALIGNMENT_BOTTOM_RIGHT: _ClassVar[Alignment]

class EmptyRow(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMPTY_ROW_UNSPECIFIED: _ClassVar[EmptyRow]
    EMPTY_ROW_ZERO: _ClassVar[EmptyRow]
    EMPTY_ROW_NAN: _ClassVar[EmptyRow]
    EMPTY_ROW_MEAN_VALUE: _ClassVar[EmptyRow]

class SoftmaxAxis(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOFTMAX_AXIS_UNSPECIFIED: _ClassVar[SoftmaxAxis]
    SOFTMAX_AXIS_KEYS: _ClassVar[SoftmaxAxis]
    SOFTMAX_AXIS_QUERIES: _ClassVar[SoftmaxAxis]

class LogBase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOG_BASE_UNSPECIFIED: _ClassVar[LogBase]
    LOG_BASE_E: _ClassVar[LogBase]
    LOG_BASE_TWO: _ClassVar[LogBase]

class RotaryPairing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROTARY_PAIRING_UNSPECIFIED: _ClassVar[RotaryPairing]
    ROTARY_PAIRING_HALF_SPLIT: _ClassVar[RotaryPairing]
    ROTARY_PAIRING_INTERLEAVED: _ClassVar[RotaryPairing]
QUANTITY_UNSPECIFIED: Quantity
QUANTITY_SCORES: Quantity
QUANTITY_CAPPED_SCORES: Quantity
QUANTITY_MASKED_SCORES: Quantity
QUANTITY_WEIGHTS: Quantity
QUANTITY_AVERAGED_WEIGHTS: Quantity
QUANTITY_LOG_SUM_EXP: Quantity
QUANTITY_PRESENT_KEY: Quantity
QUANTITY_PRESENT_VALUE: Quantity
PATH_UNSPECIFIED: Path
PATH_REFERENCE: Path
PATH_BATCHED: Path
PATH_TILED: Path
PATH_DECODE: Path
AXIS_ORDER_UNSPECIFIED: AxisOrder
AXIS_ORDER_HEADS_FIRST: AxisOrder
AXIS_ORDER_SEQUENCE_FIRST: AxisOrder
MASK_POLARITY_UNSPECIFIED: MaskPolarity
MASK_POLARITY_TRUE_ATTENDS: MaskPolarity
MASK_POLARITY_TRUE_HIDES: MaskPolarity
ALIGNMENT_UNSPECIFIED: Alignment
ALIGNMENT_TOP_LEFT: Alignment
ALIGNMENT_BOTTOM_RIGHT: Alignment
EMPTY_ROW_UNSPECIFIED: EmptyRow
EMPTY_ROW_ZERO: EmptyRow
EMPTY_ROW_NAN: EmptyRow
EMPTY_ROW_MEAN_VALUE: EmptyRow
SOFTMAX_AXIS_UNSPECIFIED: SoftmaxAxis
SOFTMAX_AXIS_KEYS: SoftmaxAxis
SOFTMAX_AXIS_QUERIES: SoftmaxAxis
LOG_BASE_UNSPECIFIED: LogBase
LOG_BASE_E: LogBase
LOG_BASE_TWO: LogBase
ROTARY_PAIRING_UNSPECIFIED: RotaryPairing
ROTARY_PAIRING_HALF_SPLIT: RotaryPairing
ROTARY_PAIRING_INTERLEAVED: RotaryPairing

class MultiHead(_message.Message):
    __slots__ = ("heads", "kv_heads", "axis_order", "query_weight", "key_weight", "value_weight", "output_weight", "query_bias", "key_bias", "value_bias", "output_bias", "extra_key", "extra_value", "add_zero_attention")
    HEADS_FIELD_NUMBER: _ClassVar[int]
    KV_HEADS_FIELD_NUMBER: _ClassVar[int]
    AXIS_ORDER_FIELD_NUMBER: _ClassVar[int]
    QUERY_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    KEY_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    VALUE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    QUERY_BIAS_FIELD_NUMBER: _ClassVar[int]
    KEY_BIAS_FIELD_NUMBER: _ClassVar[int]
    VALUE_BIAS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BIAS_FIELD_NUMBER: _ClassVar[int]
    EXTRA_KEY_FIELD_NUMBER: _ClassVar[int]
    EXTRA_VALUE_FIELD_NUMBER: _ClassVar[int]
    ADD_ZERO_ATTENTION_FIELD_NUMBER: _ClassVar[int]
    heads: int
    kv_heads: int
    axis_order: AxisOrder
    query_weight: _tensor_pb2.Operand
    key_weight: _tensor_pb2.Operand
    value_weight: _tensor_pb2.Operand
    output_weight: _tensor_pb2.Operand
    query_bias: _tensor_pb2.Operand
    key_bias: _tensor_pb2.Operand
    value_bias: _tensor_pb2.Operand
    output_bias: _tensor_pb2.Operand
    extra_key: _tensor_pb2.Operand
    extra_value: _tensor_pb2.Operand
    add_zero_attention: bool
    def __init__(self, heads: _Optional[int] = ..., kv_heads: _Optional[int] = ..., axis_order: _Optional[_Union[AxisOrder, str]] = ..., query_weight: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., key_weight: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., value_weight: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., output_weight: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., query_bias: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., key_bias: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., value_bias: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., output_bias: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., extra_key: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., extra_value: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., add_zero_attention: bool = ...) -> None: ...

class Visibility(_message.Message):
    __slots__ = ("mask", "mask_polarity", "causal", "alignment", "window_left", "window_right", "key_lengths", "query_lengths", "empty_row", "chunk_size", "cumulative_query_lengths", "cumulative_key_lengths", "block_map", "query_block_size", "key_block_size")
    MASK_FIELD_NUMBER: _ClassVar[int]
    MASK_POLARITY_FIELD_NUMBER: _ClassVar[int]
    CAUSAL_FIELD_NUMBER: _ClassVar[int]
    ALIGNMENT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_LEFT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_RIGHT_FIELD_NUMBER: _ClassVar[int]
    KEY_LENGTHS_FIELD_NUMBER: _ClassVar[int]
    QUERY_LENGTHS_FIELD_NUMBER: _ClassVar[int]
    EMPTY_ROW_FIELD_NUMBER: _ClassVar[int]
    CHUNK_SIZE_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_QUERY_LENGTHS_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_KEY_LENGTHS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_MAP_FIELD_NUMBER: _ClassVar[int]
    QUERY_BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    KEY_BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    mask: _tensor_pb2.Operand
    mask_polarity: MaskPolarity
    causal: bool
    alignment: Alignment
    window_left: int
    window_right: int
    key_lengths: _containers.RepeatedScalarFieldContainer[int]
    query_lengths: _containers.RepeatedScalarFieldContainer[int]
    empty_row: EmptyRow
    chunk_size: int
    cumulative_query_lengths: _containers.RepeatedScalarFieldContainer[int]
    cumulative_key_lengths: _containers.RepeatedScalarFieldContainer[int]
    block_map: _tensor_pb2.Operand
    query_block_size: int
    key_block_size: int
    def __init__(self, mask: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., mask_polarity: _Optional[_Union[MaskPolarity, str]] = ..., causal: bool = ..., alignment: _Optional[_Union[Alignment, str]] = ..., window_left: _Optional[int] = ..., window_right: _Optional[int] = ..., key_lengths: _Optional[_Iterable[int]] = ..., query_lengths: _Optional[_Iterable[int]] = ..., empty_row: _Optional[_Union[EmptyRow, str]] = ..., chunk_size: _Optional[int] = ..., cumulative_query_lengths: _Optional[_Iterable[int]] = ..., cumulative_key_lengths: _Optional[_Iterable[int]] = ..., block_map: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., query_block_size: _Optional[int] = ..., key_block_size: _Optional[int] = ...) -> None: ...

class Scoring(_message.Message):
    __slots__ = ("scale", "softcap", "softmax_axis", "softmax_precision", "log_base", "sinks", "alibi", "relative_bias")
    SCALE_FIELD_NUMBER: _ClassVar[int]
    SOFTCAP_FIELD_NUMBER: _ClassVar[int]
    SOFTMAX_AXIS_FIELD_NUMBER: _ClassVar[int]
    SOFTMAX_PRECISION_FIELD_NUMBER: _ClassVar[int]
    LOG_BASE_FIELD_NUMBER: _ClassVar[int]
    SINKS_FIELD_NUMBER: _ClassVar[int]
    ALIBI_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_BIAS_FIELD_NUMBER: _ClassVar[int]
    scale: float
    softcap: float
    softmax_axis: SoftmaxAxis
    softmax_precision: _tensor_pb2.DataType
    log_base: LogBase
    sinks: _tensor_pb2.Operand
    alibi: Alibi
    relative_bias: RelativeBias
    def __init__(self, scale: _Optional[float] = ..., softcap: _Optional[float] = ..., softmax_axis: _Optional[_Union[SoftmaxAxis, str]] = ..., softmax_precision: _Optional[_Union[_tensor_pb2.DataType, str]] = ..., log_base: _Optional[_Union[LogBase, str]] = ..., sinks: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., alibi: _Optional[_Union[Alibi, _Mapping]] = ..., relative_bias: _Optional[_Union[RelativeBias, _Mapping]] = ...) -> None: ...

class Alibi(_message.Message):
    __slots__ = ("slopes",)
    SLOPES_FIELD_NUMBER: _ClassVar[int]
    slopes: _tensor_pb2.Operand
    def __init__(self, slopes: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ...) -> None: ...

class RelativeBias(_message.Message):
    __slots__ = ("table", "bidirectional", "max_distance")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    BIDIRECTIONAL_FIELD_NUMBER: _ClassVar[int]
    MAX_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    table: _tensor_pb2.Operand
    bidirectional: bool
    max_distance: int
    def __init__(self, table: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., bidirectional: bool = ..., max_distance: _Optional[int] = ...) -> None: ...

class Rotary(_message.Message):
    __slots__ = ("base", "rotary_size", "pairing", "query_positions", "key_positions", "sequence_length", "linear", "dynamic_ntk", "yarn", "longrope", "llama3")
    BASE_FIELD_NUMBER: _ClassVar[int]
    ROTARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAIRING_FIELD_NUMBER: _ClassVar[int]
    QUERY_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    KEY_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    LINEAR_FIELD_NUMBER: _ClassVar[int]
    DYNAMIC_NTK_FIELD_NUMBER: _ClassVar[int]
    YARN_FIELD_NUMBER: _ClassVar[int]
    LONGROPE_FIELD_NUMBER: _ClassVar[int]
    LLAMA3_FIELD_NUMBER: _ClassVar[int]
    base: float
    rotary_size: int
    pairing: RotaryPairing
    query_positions: _tensor_pb2.Operand
    key_positions: _tensor_pb2.Operand
    sequence_length: int
    linear: LinearScaling
    dynamic_ntk: DynamicNtkScaling
    yarn: YarnScaling
    longrope: LongRopeScaling
    llama3: Llama3Scaling
    def __init__(self, base: _Optional[float] = ..., rotary_size: _Optional[int] = ..., pairing: _Optional[_Union[RotaryPairing, str]] = ..., query_positions: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., key_positions: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., sequence_length: _Optional[int] = ..., linear: _Optional[_Union[LinearScaling, _Mapping]] = ..., dynamic_ntk: _Optional[_Union[DynamicNtkScaling, _Mapping]] = ..., yarn: _Optional[_Union[YarnScaling, _Mapping]] = ..., longrope: _Optional[_Union[LongRopeScaling, _Mapping]] = ..., llama3: _Optional[_Union[Llama3Scaling, _Mapping]] = ...) -> None: ...

class LinearScaling(_message.Message):
    __slots__ = ("factor",)
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    factor: float
    def __init__(self, factor: _Optional[float] = ...) -> None: ...

class DynamicNtkScaling(_message.Message):
    __slots__ = ("factor", "original_length")
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_LENGTH_FIELD_NUMBER: _ClassVar[int]
    factor: float
    original_length: int
    def __init__(self, factor: _Optional[float] = ..., original_length: _Optional[int] = ...) -> None: ...

class YarnScaling(_message.Message):
    __slots__ = ("factor", "original_length", "beta_fast", "beta_slow", "attention_factor", "truncate")
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_LENGTH_FIELD_NUMBER: _ClassVar[int]
    BETA_FAST_FIELD_NUMBER: _ClassVar[int]
    BETA_SLOW_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    factor: float
    original_length: int
    beta_fast: float
    beta_slow: float
    attention_factor: float
    truncate: bool
    def __init__(self, factor: _Optional[float] = ..., original_length: _Optional[int] = ..., beta_fast: _Optional[float] = ..., beta_slow: _Optional[float] = ..., attention_factor: _Optional[float] = ..., truncate: bool = ...) -> None: ...

class LongRopeScaling(_message.Message):
    __slots__ = ("short_factors", "long_factors", "original_length", "factor", "attention_factor")
    SHORT_FACTORS_FIELD_NUMBER: _ClassVar[int]
    LONG_FACTORS_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_LENGTH_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FACTOR_FIELD_NUMBER: _ClassVar[int]
    short_factors: _containers.RepeatedScalarFieldContainer[float]
    long_factors: _containers.RepeatedScalarFieldContainer[float]
    original_length: int
    factor: float
    attention_factor: float
    def __init__(self, short_factors: _Optional[_Iterable[float]] = ..., long_factors: _Optional[_Iterable[float]] = ..., original_length: _Optional[int] = ..., factor: _Optional[float] = ..., attention_factor: _Optional[float] = ...) -> None: ...

class Llama3Scaling(_message.Message):
    __slots__ = ("factor", "low_frequency_factor", "high_frequency_factor", "original_length")
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    LOW_FREQUENCY_FACTOR_FIELD_NUMBER: _ClassVar[int]
    HIGH_FREQUENCY_FACTOR_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_LENGTH_FIELD_NUMBER: _ClassVar[int]
    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_length: int
    def __init__(self, factor: _Optional[float] = ..., low_frequency_factor: _Optional[float] = ..., high_frequency_factor: _Optional[float] = ..., original_length: _Optional[int] = ...) -> None: ...

class AttentionRequest(_message.Message):
    __slots__ = ("query", "key", "value", "multi_head", "visibility", "scoring", "past_key", "past_value", "outputs", "semantics_version", "path", "rotary")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MULTI_HEAD_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    SCORING_FIELD_NUMBER: _ClassVar[int]
    PAST_KEY_FIELD_NUMBER: _ClassVar[int]
    PAST_VALUE_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    SEMANTICS_VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    ROTARY_FIELD_NUMBER: _ClassVar[int]
    query: _tensor_pb2.Operand
    key: _tensor_pb2.Operand
    value: _tensor_pb2.Operand
    multi_head: MultiHead
    visibility: Visibility
    scoring: Scoring
    past_key: _tensor_pb2.Operand
    past_value: _tensor_pb2.Operand
    outputs: _containers.RepeatedScalarFieldContainer[Quantity]
    semantics_version: int
    path: Path
    rotary: Rotary
    def __init__(self, query: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., key: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., value: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., multi_head: _Optional[_Union[MultiHead, _Mapping]] = ..., visibility: _Optional[_Union[Visibility, _Mapping]] = ..., scoring: _Optional[_Union[Scoring, _Mapping]] = ..., past_key: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., past_value: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., outputs: _Optional[_Iterable[_Union[Quantity, str]]] = ..., semantics_version: _Optional[int] = ..., path: _Optional[_Union[Path, str]] = ..., rotary: _Optional[_Union[Rotary, _Mapping]] = ...) -> None: ...

class AttentionResponse(_message.Message):
    __slots__ = ("output", "scores", "capped_scores", "masked_scores", "weights", "averaged_weights", "log_sum_exp", "present_key", "present_value", "semantics_version", "report")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    CAPPED_SCORES_FIELD_NUMBER: _ClassVar[int]
    MASKED_SCORES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    AVERAGED_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    LOG_SUM_EXP_FIELD_NUMBER: _ClassVar[int]
    PRESENT_KEY_FIELD_NUMBER: _ClassVar[int]
    PRESENT_VALUE_FIELD_NUMBER: _ClassVar[int]
    SEMANTICS_VERSION_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    output: _tensor_pb2.Operand
    scores: _tensor_pb2.Operand
    capped_scores: _tensor_pb2.Operand
    masked_scores: _tensor_pb2.Operand
    weights: _tensor_pb2.Operand
    averaged_weights: _tensor_pb2.Operand
    log_sum_exp: _tensor_pb2.Operand
    present_key: _tensor_pb2.Operand
    present_value: _tensor_pb2.Operand
    semantics_version: int
    report: Report
    def __init__(self, output: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., scores: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., capped_scores: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., masked_scores: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., weights: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., averaged_weights: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., log_sum_exp: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., present_key: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., present_value: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., semantics_version: _Optional[int] = ..., report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("path", "queue_seconds", "compute_seconds")
    PATH_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    path: str
    queue_seconds: float
    compute_seconds: float
    def __init__(self, path: _Optional[str] = ..., queue_seconds: _Optional[float] = ..., compute_seconds: _Optional[float] = ...) -> None: ...

class PartialResult(_message.Message):
    __slots__ = ("output", "log_sum_exp")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    LOG_SUM_EXP_FIELD_NUMBER: _ClassVar[int]
    output: _tensor_pb2.Operand
    log_sum_exp: _tensor_pb2.Operand
    def __init__(self, output: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., log_sum_exp: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ...) -> None: ...

class MergeRequest(_message.Message):
    __slots__ = ("parts", "axis_order", "log_base", "semantics_version")
    PARTS_FIELD_NUMBER: _ClassVar[int]
    AXIS_ORDER_FIELD_NUMBER: _ClassVar[int]
    LOG_BASE_FIELD_NUMBER: _ClassVar[int]
    SEMANTICS_VERSION_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[PartialResult]
    axis_order: AxisOrder
    log_base: LogBase
    semantics_version: int
    def __init__(self, parts: _Optional[_Iterable[_Union[PartialResult, _Mapping]]] = ..., axis_order: _Optional[_Union[AxisOrder, str]] = ..., log_base: _Optional[_Union[LogBase, str]] = ..., semantics_version: _Optional[int] = ...) -> None: ...

class MergeResponse(_message.Message):
    __slots__ = ("output", "log_sum_exp", "semantics_version")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    LOG_SUM_EXP_FIELD_NUMBER: _ClassVar[int]
    SEMANTICS_VERSION_FIELD_NUMBER: _ClassVar[int]
    output: _tensor_pb2.Operand
    log_sum_exp: _tensor_pb2.Operand
    semantics_version: int
    def __init__(self, output: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., log_sum_exp: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., semantics_version: _Optional[int] = ...) -> None: ...

class DifferentiateRequest(_message.Message):
    __slots__ = ("attention", "d_output")
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    D_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    attention: AttentionRequest
    d_output: _tensor_pb2.Operand
    def __init__(self, attention: _Optional[_Union[AttentionRequest, _Mapping]] = ..., d_output: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ...) -> None: ...

class DifferentiateResponse(_message.Message):
    __slots__ = ("d_query", "d_key", "d_value", "d_mask", "d_sinks", "semantics_version", "report")
    D_QUERY_FIELD_NUMBER: _ClassVar[int]
    D_KEY_FIELD_NUMBER: _ClassVar[int]
    D_VALUE_FIELD_NUMBER: _ClassVar[int]
    D_MASK_FIELD_NUMBER: _ClassVar[int]
    D_SINKS_FIELD_NUMBER: _ClassVar[int]
    SEMANTICS_VERSION_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    d_query: _tensor_pb2.Operand
    d_key: _tensor_pb2.Operand
    d_value: _tensor_pb2.Operand
    d_mask: _tensor_pb2.Operand
    d_sinks: _tensor_pb2.Operand
    semantics_version: int
    report: Report
    def __init__(self, d_query: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., d_key: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., d_value: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., d_mask: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., d_sinks: _Optional[_Union[_tensor_pb2.Operand, _Mapping]] = ..., semantics_version: _Optional[int] = ..., report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...
