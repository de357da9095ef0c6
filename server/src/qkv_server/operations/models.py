"""The life of the models: their folder is watched, and health says which of them are ready."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from qkv_server.operations.health import Health
from qkv_server.service.limits import ModelLimits
from qkv_server.service.models.choosing import Models
from qkv_server.transformers.repository.entry import State
from qkv_server.transformers.repository.repository import Repository
from qkv_server.transport.models import SERVICE

if TYPE_CHECKING:
    from qkv_server.service.models.served import ServedModel

log = logging.getLogger(__name__)

FOLDER_SECONDS = 1.0  # between two looks at the folder


@dataclass(frozen=True, slots=True)
class WatchedModels:
    """The models of a folder, watched until they are closed."""

    models: Models
    _repository: "Repository[ServedModel]"
    _watching: asyncio.Task[None]

    @classmethod
    def open(cls, folder: Path, limits: ModelLimits, health: Health) -> Self:
        """Begin to load and to watch the models of a folder.

        Raises ModuleNotFoundError where a package is missing that models need.
        """
        from qkv_server.service.models.served import loader  # noqa: PLC0415 - needs an extra

        def tell() -> None:
            health.parts({f"{SERVICE}/{each.name}": each.state is State.READY for each in repository.entries()})

        on_change = partial(asyncio.get_running_loop().call_soon_threadsafe, tell)
        repository = Repository(folder, loader(limits), limits.weight_bytes, on_change)
        return cls(Models(repository), repository, asyncio.create_task(_watch(repository)))

    async def close(self) -> bool:
        """Watch no more, and let the models go; whether none is being loaded, which nothing can stop."""
        self._watching.cancel()
        return await asyncio.to_thread(self._repository.close)


async def _watch(repository: "Repository[ServedModel]") -> None:
    while True:
        await asyncio.sleep(FOLDER_SECONDS)
        try:
            await asyncio.to_thread(repository.refresh)
        except Exception:  # a defect must not end the watching
            log.exception("the folder of models was not looked at")
