"""Files of models: Hugging Face folders, GGUF, Marian, and the checkpoint of annalog, each read into `ModelFiles`."""

from qkv_server.transformers.files.gguf_file import Progress
from qkv_server.transformers.files.model_files import ModelFiles
from qkv_server.transformers.files.reading import read_model
from qkv_server.transformers.files.weights import StoredTensor, Weights

__all__ = ["ModelFiles", "Progress", "StoredTensor", "Weights", "read_model"]
