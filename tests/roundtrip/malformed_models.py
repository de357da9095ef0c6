"""Requests to ModelService that are wrong, each with the fields that are and a part of what is to be said of them.

The models are those of tests/goldens/tiny_models: two layers, four heads.
"""

from dataclasses import dataclass

from google.protobuf import text_format
from google.protobuf.message import Message

from qkv.v1 import models_pb2


@dataclass(frozen=True)
class Wrong:
    """A request of a method, in protobuf's text format, and what is wrong: parts of descriptions by field."""

    method: str
    fields: str
    violations: dict[str, str]

    @property
    def request(self) -> Message:
        kind: type[Message] = getattr(models_pb2, f"{self.method}Request")
        return text_format.Parse(self.fields, kind())


SAMPLING = (
    ("temperature: -1", "temperature", "is -1, expected at least 0"),
    ("temperature: nan", "temperature", "is nan, expected a finite number from 0"),
    ("temperature: inf", "temperature", "is inf, expected a finite number from 0"),
    ("repetition_penalty: -1", "repetition_penalty", "is -1, expected from 0.01 to 100"),
    ("repetition_penalty: 1e-300", "repetition_penalty", "is 1e-300"),
    ("repetition_penalty: nan", "repetition_penalty", "is nan"),
    ("top_k: -1", "top_k", "is -1, expected at least 0"),
    ("top_p: 1.5", "top_p", "is 1.5, expected from 0 to 1"),
    ("top_p: -0.5", "top_p", "is -0.5"),
    ("top_p: nan", "top_p", "is nan"),
    ("min_p: 2", "min_p", "is 2, expected from 0 to 1"),
    ("min_p: -1", "min_p", "is -1"),
    ("min_p: nan", "min_p", "is nan"),
)
SAMPLED = {
    "Generate": 'model: "llama" prompt: "a"',
    "Summarize": 'model: "llama" text: "a"',
    "Translate": 'model: "marian" text: "a"',
}
OF_SAMPLING = [
    Wrong(method, f"{fields} sampling {{ {wrong} }}", {f"sampling.{field}": said})
    for method, fields in SAMPLED.items()
    for wrong, field, said in SAMPLING
]

CHAT = 'chat { messages { role: "user" content: "a" }'
MANY_STOPS = 'stop: "b" ' * 65
LONG_STOP = 'stop: "' + "x" * 1001 + '"'
OTHERS = [
    Wrong("GetModel", "", {"model": "needed"}),
    Wrong("Tokenize", 'texts: "a"', {"model": "needed, since several are ready: "}),
    Wrong("Detokenize", "texts { ids: 1 }", {"model": "needed, since several are ready: "}),
    Wrong("Detokenize", 'model: "bert" texts { ids: 5 ids: -1 }', {"texts[0].ids": "token 1 is -1"}),
    Wrong(
        "Detokenize",
        'model: "bert" texts { ids: 9999999 } texts { ids: 5 } texts { ids: [5, 5, 2147483647] }',
        {"texts[0].ids": "token 0 is 9999999", "texts[2].ids": "token 2 is 2147483647"},
    ),
    Wrong("Embed", 'texts: "a"', {"model": "needed, since several can embed: bert, "}),
    Wrong(
        "Embed", 'model: "bert" texts: "a" pooling: 7', {"pooling": "is 7, expected one of POOLING_MEAN, POOLING_CLS"}
    ),
    Wrong("Encode", 'text: "a"', {"model": "needed, since several can encode: bert, "}),
    Wrong(
        "Encode", 'model: "bert" text: "a" hidden_states: [0, 3]', {"hidden_states[1]": "is 3, expected from -1 to 2"}
    ),
    Wrong("Encode", 'model: "bert" text: "a" hidden_states: -2', {"hidden_states[0]": "is -2, expected from -1 to 2"}),
    Wrong("Encode", 'model: "bert" text: "a" attentions: [0, 2]', {"attentions[1]": "is 2, expected from -1 to 1"}),
    Wrong(
        "Encode",
        'model: "bert" text: "a" attentions: 1 all_attentions: true hidden_states: 0 all_hidden_states: true',
        {"attentions": "excluded by all_attentions", "hidden_states": "excluded by all_hidden_states"},
    ),
    Wrong("Encode", 'model: "bert" text: "a" attentions: -2', {"attentions[0]": "is -2, expected from -1 to 1"}),
    Wrong("Encode", 'model: "bert" text: "a" attentions: 0 heads: [0, 4]', {"heads[1]": "is 4, expected from 0 to 3"}),
    Wrong("Encode", 'model: "bert" text: "a" attentions: 0 heads: -1', {"heads[0]": "is -1, expected from 0 to 3"}),
    Wrong("Encode", 'model: "bert" text: "a" hidden_states: 0 heads: 0', {"heads": "are those of attention maps"}),
    Wrong(
        "Encode",
        'model: "bert" text: "a" hidden_states: 9 attentions: 9 heads: 9',
        {"hidden_states[0]": "is 9", "attentions[0]": "is 9", "heads[0]": "is 9"},
    ),
    Wrong("Generate", 'model: "llama"', {"prompt": "needed, expected a prompt or a chat"}),
    Wrong("Generate", 'prompt: "a"', {"model": "needed, since several can generate: "}),
    Wrong("Generate", f"{CHAT} }}", {"model": "needed, since several can chat: "}),
    Wrong("Generate", 'model: "gpt2" prompt: ""', {"prompt": "has no tokens"}),
    Wrong("Generate", 'model: "llama" prompt: "a" max_tokens: -1', {"max_tokens": "is -1, expected at least 0"}),
    Wrong("Generate", 'model: "llama" prompt: "a" stop: ["b", ""]', {"stop[1]": "has 0 characters, expected from 1"}),
    Wrong("Generate", f'model: "llama" prompt: "a" {MANY_STOPS}', {"stop": "has 65 elements, expected at most 64"}),
    Wrong(
        "Generate",
        'model: "llama" prompt: "a" top_log_probabilities: -1',
        {"top_log_probabilities": "is -1, expected from 0 to 100"},
    ),
    Wrong("Generate", 'model: "llama" prompt: "a" top_log_probabilities: 101', {"top_log_probabilities": "is 101"}),
    Wrong("Generate", f'prompt: "a" {LONG_STOP}', {"stop[0]": "has 1001 characters, expected from 1 to 1000"}),
    Wrong("Generate", 'model: "llama" chat {}', {"chat.messages": "has no elements"}),
    Wrong(
        "Generate",
        f'model: "llama" {CHAT} messages {{ content: "b" }} }}',
        {"chat.messages[1].role": "needed, as user or assistant"},
    ),
    Wrong(
        "Generate",
        'model: "qwen2" chat { messages { role: "system" content: "a" } }',
        {"chat": "this model takes no system message"},
    ),
    Wrong(
        "Generate",
        "max_tokens: -1 stop: '' top_log_probabilities: -1 sampling { top_p: 2 min_p: 2 temperature: -1 top_k: -1 }",
        {
            "prompt": "needed",
            "max_tokens": "is -1",
            "stop[0]": "has 0 characters",
            "top_log_probabilities": "is -1",
            "sampling.top_p": "is 2",
            "sampling.min_p": "is 2",
            "sampling.temperature": "is -1",
            "sampling.top_k": "is -1",
        },
    ),
    Wrong("Summarize", 'model: "llama" text: "a" max_tokens: -1', {"max_tokens": "is -1, expected at least 0"}),
]
WRONG = OTHERS + OF_SAMPLING
