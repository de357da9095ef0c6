"""The calls of ModelService that answer a text with another of the same meaning: Summarize and Translate."""

from typing import Unpack

from qkv._calls import Method, TextCall
from qkv._fields import set_fields
from qkv._names import refuse_unknown
from qkv._text_options import SummarizeOptions, TranslateOptions, set_sampling
from qkv.v1.models_pb2 import SummarizeRequest, SummarizeResponse, TranslateRequest, TranslateResponse
from qkv.wire import Draft

SUMMARIZE = Method("/qkv.v1.ModelService/Summarize", SummarizeResponse)
TRANSLATE = Method("/qkv.v1.ModelService/Translate", TranslateResponse)


def summarize(text: str, **options: Unpack[SummarizeOptions]) -> TextCall:
    """A shorter text of the same content, in pieces as they come.

    The text may be longer than the model reads: it is split at the ends of sentences, and the summaries of the parts
    joined. The options are those of `qkv.SummarizeOptions`. Otherwise as `generate`.
    """
    refuse_unknown(options, SummarizeOptions.__annotations__, "option")
    request = SummarizeRequest()
    set_fields(request, {"text": text, "model": options.get("model"), "max_tokens": options.get("max_tokens")})
    set_sampling(request.sampling, options)
    return TextCall(SUMMARIZE, Draft(request), options.get("timeout"), options.get("wait_for_ready"))


def translate(text: str, *, source: str = "", target: str = "", **options: Unpack[TranslateOptions]) -> TextCall:
    """The text in another language, in pieces as they come.

    `source` and `target` are BCP 47 language tags, as "en" and "pt-BR"; they may be left out for a model of one pair.
    The text may be longer than the model reads: it is translated sentence by sentence, and joined as it was. The
    options are those of `qkv.TranslateOptions`. Otherwise as `generate`.
    """
    refuse_unknown(options, TranslateOptions.__annotations__, "option")
    request = TranslateRequest()
    set_fields(request, {"text": text, "source": source, "target": target, "model": options.get("model")})
    set_sampling(request.sampling, options)
    return TextCall(TRANSLATE, Draft(request), options.get("timeout"), options.get("wait_for_ready"))
