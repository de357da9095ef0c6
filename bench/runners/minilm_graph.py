"""MiniLM as ONNX, from token ids to vectors of length 1: `python -m runners.minilm_graph FOLDER FILE`."""

import sys

import torch
import transformers  # type: ignore[import-not-found]  # only in the environment of the peer


class Embedding(torch.nn.Module):  # type: ignore[misc]  # without torch it is anything
    """The encoder, the mean of what it makes of the tokens, and its normalization."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.encoder = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager")

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(N, L) twice → (N, D)."""
        states = self.encoder(input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(states.dtype)
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


def main() -> None:
    """Trace it and write the file."""
    folder, path = sys.argv[1:]
    names = ("input_ids", "attention_mask")
    ids = torch.ones(2, 5, dtype=torch.int64)
    axes = {0: "texts", 1: "tokens"}
    torch.onnx.export(
        Embedding(folder).eval(),
        (ids, ids),
        path,
        input_names=list(names),
        output_names=["vectors"],
        dynamic_axes=dict.fromkeys(names, axes) | {"vectors": {0: "texts"}},
        dynamo=False,
    )


if __name__ == "__main__":
    main()
