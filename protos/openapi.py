"""Writes the OpenAPI description of the contract: a FileDescriptorSet with comments in, JSON out.

    buf build --path protos/qkv/v1 --exclude-imports --output - | python protos/openapi.py > openapi.json

It describes what a plain HTTP client sends and gets, in protobuf's JSON: from each unary method one message, by the
Connect protocol, and from a method that streams its answer a message a line.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

Schema = dict[str, Any]
Type = FieldDescriptorProto

# Numbers in descriptor.proto of the fields that lead to what has a comment.
FILE_MESSAGES, FILE_ENUMS, FILE_SERVICES = 4, 5, 6
MESSAGE_FIELDS, ENUM_VALUES, SERVICE_METHODS = 2, 2, 2

DOUBLE: Schema = {
    "description": "A floating-point number; those that JSON has no number for are strings.",
    "anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}],
}
INT64: Schema = {
    "description": "A 64-bit integer: answers are strings, since many readers of JSON would round numbers.",
    "anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^-?[0-9]+$"}],
}
SCALARS: dict[int, Schema] = {
    Type.TYPE_DOUBLE: {"$ref": "#/components/schemas/double"},
    Type.TYPE_FLOAT: {"$ref": "#/components/schemas/double"},
    Type.TYPE_INT64: {"$ref": "#/components/schemas/int64"},
    Type.TYPE_UINT64: {"$ref": "#/components/schemas/int64"},
    Type.TYPE_INT32: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    Type.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    Type.TYPE_BOOL: {"type": "boolean"},
    Type.TYPE_STRING: {"type": "string"},
    Type.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
ERROR: Schema = {
    "description": "A refusal, as the Connect protocol writes it.",
    "type": "object",
    "required": ["code"],
    "properties": {
        "code": {"type": "string", "description": "A code of gRPC in lower case, as invalid_argument."},
        "message": {"type": "string"},
        "details": {
            "description": "One google.rpc.ErrorInfo; google.rpc.BadRequest, google.rpc.RetryInfo where they apply.",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "value"],
                "properties": {
                    "type": {"type": "string", "description": "The full name of the message."},
                    "value": {"type": "string", "description": "Its bytes, in base64 without padding."},
                    "debug": {"description": "The same in JSON."},
                },
            },
        },
    },
}
ERROR_REFERENCE = {"$ref": "#/components/schemas/connect.error"}

X = {"matrix": {"rows": 3, "columns": 4, "values": [0.5, 0.8, 0.2, 0.6, 0.7, 0.1, 0.9, 0.3, 0.4, 0.6, 0.3, 0.8]}}
ROW = {"matrix": {"rows": 1, "columns": 2, "values": [1, 2]}}
ONE = {"matrix": {"rows": 1, "columns": 1, "values": [0]}}
EXAMPLES = {
    "/qkv.v1.AttentionService/Attend": {"query": X, "outputs": ["QUANTITY_SCORES", "QUANTITY_WEIGHTS"]},
    "/qkv.v1.AttentionService/Merge": {"parts": [{"output": ROW, "logSumExp": ONE}, {"output": ROW, "logSumExp": ONE}]},
    "/qkv.v1.AttentionService/Differentiate": {"attention": {"query": X}, "dOutput": X},
    "/qkv.v1.ModelService/ListModels": {},
    "/qkv.v1.ModelService/GetModel": {"model": "minilm"},
    "/qkv.v1.ModelService/Tokenize": {"model": "minilm", "texts": ["I love bears"]},
    "/qkv.v1.ModelService/Detokenize": {"model": "minilm", "texts": [{"ids": [1045, 2293, 6468]}]},
    "/qkv.v1.ModelService/Embed": {"model": "minilm", "texts": ["I love bears", "Bears are lovely"]},
    "/qkv.v1.ModelService/Encode": {"model": "minilm", "text": "I love bears", "attentions": [0], "heads": [3]},
    "/qkv.v1.ModelService/Generate": {"model": "smollm2", "prompt": "Once upon a time", "maxTokens": 40},
    "/qkv.v1.ModelService/Summarize": {"model": "smollm2", "text": "Bears eat honey. They sleep all winter."},
    "/qkv.v1.ModelService/Translate": {"text": "I love bears.", "source": "en", "target": "pt"},
}


class Comments:
    """The comments of a file, by the path of what they stand before."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._texts = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

    def of(self, *path: int) -> str:
        """The text in Markdown, as the lines were broken only for their length; without words to the lint."""
        lines = self._texts.get(path, "").splitlines()
        kept = "\n".join(line.strip() for line in lines if not line.strip().startswith("buf:lint"))
        return re.sub(r"(?<!\n)\n(?!\n)", " ", kept).strip()


def description(files: Sequence[FileDescriptorProto]) -> Schema:
    """The OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "qkv: attention as a service",
            "version": files[0].package.rpartition(".")[2],
            "description": "What is softmax(Q·Kᵀ·scale)·V, and what do whole models make of it? Send a POST with "
            "`content-type: application/json`. Fields may be left out where a default is named; a field that there is "
            "not is refused. Clients of Connect and gRPC-Web call the same paths with content types of their own.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": list(tags(files)),
        "paths": dict(paths(files)),
        "components": {
            "schemas": {"double": DOUBLE, "int64": INT64, "connect.error": ERROR} | dict(schemas(files)),
        },
    }


def tags(files: Iterable[FileDescriptorProto]) -> Iterator[Schema]:
    """The services."""
    for file in files:
        for number, service in enumerate(file.service):
            comment = Comments(file).of(FILE_SERVICES, number)
            yield {"name": f"{file.package}.{service.name}", "description": comment}


def paths(files: Iterable[FileDescriptorProto]) -> Iterator[tuple[str, Schema]]:
    """The methods that take one message, by path."""
    for file in files:
        comments = Comments(file)
        for number, service in enumerate(file.service):
            for position, method in enumerate(service.method):
                if not method.client_streaming:
                    path = f"/{file.package}.{service.name}/{method.name}"
                    comment = comments.of(FILE_SERVICES, number, SERVICE_METHODS, position)
                    yield path, {"post": operation(path, file, service, method, comment)}


def operation(
    path: str, file: FileDescriptorProto, service: ServiceDescriptorProto, method: MethodDescriptorProto, comment: str
) -> Schema:
    """One method."""
    request: Schema = {"schema": reference(method.input_type)}
    if path in EXAMPLES:
        request["example"] = EXAMPLES[path]
    return {
        "tags": [f"{file.package}.{service.name}"],
        "operationId": f"{service.name}.{method.name}",
        "summary": method.name,
        "description": comment,
        "requestBody": {"required": True, "content": {"application/json": request}},
        "responses": {
            "200": pieces(method.output_type) if method.server_streaming else answer(method.output_type),
            "default": {"description": "A refusal.", "content": {"application/json": {"schema": ERROR_REFERENCE}}},
        },
    }


def answer(type_name: str) -> Schema:
    """The response of a method with one answer."""
    return {"description": "The answer.", "content": {"application/json": {"schema": reference(type_name)}}}


def pieces(type_name: str) -> Schema:
    """The response of a method that streams its answer."""
    broken = {"type": "object", "required": ["error"], "properties": {"error": ERROR_REFERENCE}}
    return {
        "description": "The answer in pieces as they come: each line is one. If something goes wrong on the way, the "
        "last line has an `error` instead. For clients of Connect, who ask with `application/connect+json` or "
        "`application/connect+proto`, the same pieces are framed as their protocol says.",
        "content": {"application/x-ndjson": {"schema": {"anyOf": [reference(type_name), broken]}}},
    }


def schemas(files: Iterable[FileDescriptorProto]) -> Iterator[tuple[str, Schema]]:
    """The messages and enums, by full name."""
    for file in files:
        comments = Comments(file)
        for number, enum in enumerate(file.enum_type):
            yield f"{file.package}.{enum.name}", enumeration(enum, comments, (FILE_ENUMS, number))
        for number, message in enumerate(file.message_type):
            if message.nested_type or message.enum_type:
                raise NotImplementedError(f"{message.name}: this contract nests no types")
            yield f"{file.package}.{message.name}", structure(message, comments, (FILE_MESSAGES, number))


def enumeration(enum: EnumDescriptorProto, comments: Comments, path: tuple[int, ...]) -> Schema:
    """The names of an enum; what each means follows the comment."""
    values = [f"- `{value.name}`: {comments.of(*path, ENUM_VALUES, number)}" for number, value in enumerate(enum.value)]
    return {
        "description": "\n".join([comments.of(*path), "", *values]),
        "type": "string",
        "enum": [value.name for value in enum.value],
    }


def structure(message: DescriptorProto, comments: Comments, path: tuple[int, ...]) -> Schema:
    """The fields of a message, and that of a oneof at most one is set."""
    fields = {
        field.json_name: member(field) | {"description": comments.of(*path, MESSAGE_FIELDS, number)}
        for number, field in enumerate(message.field)
    }
    schema: Schema = {
        "description": comments.of(*path),
        "type": "object",
        "properties": fields,
        "additionalProperties": False,
    }
    for number in range(len(message.oneof_decl)):
        names = [
            field.json_name
            for field in message.field
            if field.HasField("oneof_index") and field.oneof_index == number and not field.proto3_optional
        ]
        if names:
            each = [{"required": [name]} for name in names]
            schema.setdefault("allOf", []).append({"oneOf": [*each, {"not": {"anyOf": each}}]})
    return schema


def member(field: FieldDescriptorProto) -> Schema:
    """The type of a field."""
    one = dict(SCALARS[field.type]) if field.type in SCALARS else reference(field.type_name)
    return {"type": "array", "items": one} if field.label == Type.LABEL_REPEATED else one


def reference(type_name: str) -> Schema:
    """A message or enum by its name, which begins with a dot."""
    return {"$ref": f"#/components/schemas/{type_name.removeprefix('.')}"}


if __name__ == "__main__":
    contract = FileDescriptorSet.FromString(sys.stdin.buffer.read())
    json.dump(description(contract.file), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
