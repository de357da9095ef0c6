"""Chat templates: the texts that Hugging Face's transformers makes, in a sandbox with bounds."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from packaged import packaged

from qkv_server.transformers.errors import TemplateError
from qkv_server.transformers.files import read_model
from qkv_server.transformers.text import chat
from qkv_server.transformers.text.chat import render

TINY = Path(__file__).parents[2] / "goldens" / "tiny_models"
CHATS = sorted(
    path.parent.name for path in TINY.glob("*/goldens.json") if "chat" in json.loads(path.read_text("utf-8"))
)
HELLO = [{"role": "user", "content": "Hello <you> & 'me' 🐻"}]


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_has_the_text_and_tokens_of_transformers(name: str) -> None:
    """What apply_chat_template made of a chat is what is made here, and tokenizing it adds nothing."""
    golden = json.loads((TINY / name / "goldens.json").read_text("utf-8"))["chat"]
    tokenizer = read_model(TINY / name).tokenizer
    assert tokenizer.chat_template is not None
    text = render(tokenizer.chat_template, golden["messages"], tokenizer.special_tokens)
    assert text == golden["text"]
    assert tokenizer.encode(text, special_tokens=False).ids == golden["ids"]


def test_there_are_chats_to_compare() -> None:
    """At least two families of tiny models have a template."""
    assert len(CHATS) >= 2


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ messages[0]['content'] }}", "Hello <you> & 'me' 🐻"),  # no HTML
        ("{{ messages | tojson }}", '[{"role": "user", "content": "Hello <you> & \'me\' 🐻"}]'),
        ("{{ {'b': 1, 'a': 2} | tojson(indent=1, sort_keys=true) }}", '{\n "a": 2,\n "b": 1\n}'),
        ("{% for m in 'abcd' %}{% if m == 'b' %}{% continue %}{% endif %}{{ m }}{% endfor %}", "acd"),
        ("{% for m in 'abcd' %}{{ m }}{% if m == 'b' %}{% break %}{% endif %}{% endfor %}", "ab"),
        ("a\n    {% if true %}\nb\n    {% endif %}\nc", "a\nb\nc"),  # trim_blocks and lstrip_blocks
        ("{% generation %}{{ messages | length }}{% endgeneration %}", "1"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "1"),
        ("{{ bos_token }}{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}", "<s>TrueTrueTrue"),
        ("{{ missing is defined }}{{ missing }}", "False"),
    ],
)
def test_templates_find_what_they_expect(template: str, expected: str) -> None:
    """Filters, tags, variables and the treatment of blanks are those of transformers' own environment."""
    assert render(template, HELLO, {"bos_token": "<s>"}) == expected


def test_templates_may_ask_for_the_date() -> None:
    """strftime_now is the time of the server."""
    text = render("{{ strftime_now('%Y') }}", HELLO, {})
    assert abs(int(text) - datetime.now().astimezone().year) <= 1


def test_a_template_that_refuses_says_why() -> None:
    """raise_exception becomes the message of the error."""
    with pytest.raises(TemplateError, match=r"^the chat template refuses these messages: roles must alternate$"):
        render("{{ raise_exception('roles must alternate') }}", HELLO, {})


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% for %}", "is no Jinja: Expected an expression, got 'end of statement block', line 1$"),
        ("{% for x in [1] %}" * 30 + "{% endfor %}" * 30, "cannot be compiled: too many statically nested blocks"),
        ("{{ " + "(" * 5000, "cannot be compiled: "),
        ("{{ messages[3].content.x }}", "fails: UndefinedError"),
        ("{{ 1 // 0 }}", "fails: ZeroDivisionError"),
        ("{{ ''.__class__.__mro__ }}", "fails: SecurityError"),
        ("{{ messages.append({}) }}", "fails: SecurityError"),
        ("{{ cycler.__init__.__globals__ }}", "fails: SecurityError"),
        ("{{ ('%s' | format(1)).__class__() }}", "fails: SecurityError"),
        ("{{ raise_exception.__globals__.items() }}", "fails: SecurityError"),
        ("{{ '{0.__class__.__mro__}'.format(1) }}", "fails: SecurityError"),
        ("{% include 'secrets' %}", "fails: "),
        ("{{ range(10000000) }}", "fails: OverflowError"),
        ("{{ 'x' * 10000000 }}", r"asks for too large a result of \*"),
        ("{{ [1] * 10000000 }}", r"asks for too large a result of \*"),
        ("{{ 9 ** 99999999 }}", r"asks for too large a result of \*\*"),
    ],
)
def test_a_template_cannot_leave_its_sandbox(template: str, problem: str) -> None:
    """Python's inner parts, changes of the messages, files, and results without bound are errors in words."""
    with pytest.raises(TemplateError, match=f"^the chat template {problem}"):
        render(template, HELLO, {})


@pytest.mark.parametrize("bound", ["_SECONDS", "_MOST_CHARACTERS"])
def test_a_template_that_writes_without_end_is_stopped(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is bounded in time and in size; each bound is enough, here one hundredth of it."""
    monkeypatch.setattr(chat, bound, getattr(chat, bound) / 100)
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{{ 'x' * 99 }}{% endfor %}{% endfor %}"
    with pytest.raises(TemplateError, match=r"^the chat template wrote more than \d+ characters or took more than"):
        render(loops, HELLO, {})


def test_smollm2_is_asked_as_it_was_trained() -> None:
    """The template in the packaged SmolLM2 begins with its own system message, and ends where it shall speak."""
    tokenizer = read_model(packaged("smollm2")).tokenizer
    assert tokenizer.chat_template is not None
    question = {"role": "user", "content": "What is the capital of France?"}
    text = render(tokenizer.chat_template, [question], tokenizer.special_tokens)
    ids = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182]
    ids += [2, 198, 1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198]
    assert tokenizer.encode(text, special_tokens=False).ids == ids
