"""Methods of the clients made from the functions that build calls, so that each signature is written once."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args

M = TypeVar("M", bound=Callable[..., Any])


def method_of(build: Callable[..., Any], carry: M) -> M:
    """`carry` as a method that shows the name, the documentation and every argument of `build`."""
    functools.update_wrapper(carry, build)
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for parameter in inspect.signature(build).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            (options,) = get_args(parameter.annotation)  # of Unpack
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters += [inspect.Parameter(name, keyword, default=None) for name in options.__annotations__]
        else:
            parameters.append(parameter.replace(annotation=inspect.Parameter.empty))
    vars(carry)["__signature__"] = inspect.Signature(parameters)
    return carry
