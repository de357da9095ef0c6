"""A GGUF as a folder of transformers with float32 weights: `python -m runners.float32_folder FROM TO`."""

import sys
from pathlib import Path

import torch
import transformers  # type: ignore[import-not-found]  # only in the environment of the peer


def main() -> None:
    """Read it as transformers does, and save a model that knows nothing of quantization."""
    source, target = map(Path, sys.argv[1:])
    read = transformers.AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    config = type(read.config).from_dict(
        {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    )
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(target)


if __name__ == "__main__":
    main()
