"""The OpenAPI description is valid, and says what the server does."""

from typing import Any

import jsonschema
import pytest
from google.protobuf import json_format
from openapi_spec_validator import OpenAPIV31SpecValidator
from roundtrip.malformed import base, matrices
from roundtrip.malformed_options import rank_4
from roundtrip.malformed_positions import SCALINGS, packed, positional, scaled
from web.asking import ATTENTION, Web

from qkv.v1 import attention_pb2, models_pb2
from qkv_server.service.calls import METHODS
from qkv_server.service.models import model_methods
from qkv_server.service.models.choosing import Models
from qkv_server.transport import models


@pytest.fixture(scope="module")
def description(web: Web) -> Any:
    return web.get("/openapi.json").json


def follows(instance: object, name: str, description: Any) -> None:
    """Require that something is what the schema of a name says."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": description["components"]}
    jsonschema.Draft202012Validator(schema).validate(instance)


def test_it_is_openapi(description: Any) -> None:
    """A validator that nobody here wrote has nothing to say against it."""
    assert description["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) == []


def test_it_describes_every_method_and_field(description: Any) -> None:
    """Every method, every message, field and enum value of the contract is there, with its comment."""
    methods = model_methods(Models(None))
    of_models = {f"/{models.SERVICE}/{name}" for name in (*methods.unary, *methods.streams)}
    assert set(description["paths"]) == {f"{ATTENTION}{name}" for name in METHODS} | of_models
    schemas = description["components"]["schemas"]
    for file in (attention_pb2.DESCRIPTOR, models_pb2.DESCRIPTOR):
        for message in file.message_types_by_name.values():
            properties = schemas[message.full_name]["properties"]
            assert set(properties) == {field.json_name for field in message.fields}
            assert all(member["description"] for member in properties.values())
        for enum in file.enum_types_by_name.values():
            assert schemas[enum.full_name]["enum"] == [value.name for value in enum.values]
    assert "buf:lint" not in str(description)


@pytest.mark.parametrize("method", METHODS)
def test_its_examples_are_answered_as_it_says(method: str, description: Any, web: Web) -> None:
    """The example of each method is a request by its schema, and the answer is one by its schema."""
    operation = description["paths"][f"{ATTENTION}{method}"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    kinds = METHODS[method]
    assert content["schema"]["$ref"].endswith(f"/{kinds.request.DESCRIPTOR.full_name}")
    follows(content["example"], kinds.request.DESCRIPTOR.full_name, description)
    reply = web.ask(method, content["example"])
    assert reply.status == 200
    follows(reply.json, kinds.response.DESCRIPTOR.full_name, description)


@pytest.mark.parametrize(
    "request_", [base(), matrices(), rank_4(), packed(), positional(), *map(scaled, SCALINGS)], ids=lambda _: ""
)
def test_requests_of_every_kind_follow_it(request_: Any, description: Any, web: Web) -> None:
    """Valid requests that set nearly every field are requests by the schema, and so are their answers."""
    follows(json_format.MessageToDict(request_), "qkv.v1.AttentionRequest", description)
    follows(web.ask("Attend", request_).json, "qkv.v1.AttentionResponse", description)


@pytest.mark.parametrize(
    "wrong",
    [
        {"qeury": {}},
        {"query": {"matrix": {"rows": "many"}}},
        {"query": {"matrix": {}, "tensor": {}}},
        {"outputs": ["QUANTITY_WEIGHT"]},
        {"multiHead": {"heads": -1}},
    ],
    ids=str,
)
def test_what_the_server_refuses_to_read_is_wrong_by_it(wrong: Any, description: Any, web: Web) -> None:
    """A request that is none of protobuf's JSON is none by the schema either, and the refusal is one by the schema."""
    with pytest.raises(jsonschema.ValidationError):
        follows(wrong, "qkv.v1.AttentionRequest", description)
    reply = web.ask("Attend", wrong)
    assert reply.status == 400
    follows(reply.json, "connect.error", description)
