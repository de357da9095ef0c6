"""What MLServer runs: apart from its client, since their protocols have one name and cannot be in one process."""

import asyncio

from mlserver import MLModel, MLServer, ModelSettings, Settings  # type: ignore[import-not-found]
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]

from peers.ends import HOST, LARGEST_MESSAGE, MODEL, OUTPUT, free_port
from peers.formula import attention


class Attention(MLModel):  # type: ignore[misc]  # it has no types outside the environment of the peer
    """The formula behind MLServer's NumPy codec."""

    async def load(self) -> bool:
        """Nothing to load."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Three arrays (B, H, L, D) in, one out."""
        operands = [NumpyCodec.decode_input(array) for array in payload.inputs]
        output = NumpyCodec.encode_output(OUTPUT, attention(*operands))
        return InferenceResponse(model_name=self.name, outputs=[output])


def serve(port: int) -> None:
    """Serve until SIGINT."""
    asyncio.run(_serve(port))


async def _serve(port: int) -> None:
    """No worker processes: with one client they would only copy every message twice more."""
    settings = Settings(
        host=HOST,
        grpc_port=port,
        http_port=free_port(),
        metrics_endpoint=None,
        grpc_max_message_length=LARGEST_MESSAGE,
        parallel_workers=0,
        debug=False,
    )
    model = ModelSettings(name=MODEL, implementation=Attention)
    await MLServer(settings).start([model])
