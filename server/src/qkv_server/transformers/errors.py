"""Why a model cannot be loaded, or a text not read."""

from pathlib import Path


class ModelFileError(Exception):
    """A file of a model is missing, broken, or says something that is not known here; the message names it."""

    def __init__(self, path: Path, problem: str) -> None:
        # Names of files are bytes; what of them is no UTF-8 no answer could tell.
        super().__init__(f"{path.name}: {problem}".encode(errors="backslashreplace").decode())
        self.path = path
        self.problem = problem


class TextError(ValueError):
    """A text, or a list of tokens, that a tokenizer cannot read; the message says where."""


class TemplateError(Exception):
    """A chat that the template of a model refuses, or a template that fails; the message says why."""
