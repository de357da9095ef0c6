"""The life of the models: their folder is watched, and health says which of them are ready."""

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from qkv_server.operations.health import Health
from qkv_server.service.limits import ModelLimits
from qkv_server.service.models.choosing import Models
from qkv_server.transformers.repository.repository import Repository, State
from qkv_server.transport.models import SERVICE

if TYPE_CHECKING:
    from qkv_server.service.models.served import ServedModel

log = logging.getLogger(__name__)

FOLDER_SECONDS = 1.0  # between two looks at the folder
HEALTH_SECONDS = 0.1  # between two looks at what is ready


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

        repository = Repository(folder, loader(limits), limits.weight_bytes)
        return cls(Models(repository), repository, asyncio.create_task(_watch(repository, health)))

    async def close(self) -> None:
        """Watch no more, and let the models go."""
        self._watching.cancel()
        await asyncio.to_thread(self._repository.close)


async def _watch(repository: "Repository[ServedModel]", health: Health) -> None:
    looked = time.monotonic()
    while True:
        health.parts({f"{SERVICE}/{each.name}": each.state is State.READY for each in repository.entries()})
        await asyncio.sleep(HEALTH_SECONDS)
        if time.monotonic() - looked >= FOLDER_SECONDS:
            try:
                await asyncio.to_thread(repository.refresh)
            except Exception:  # a defect must not end the watching
                log.exception("the folder of models was not looked at")
            looked = time.monotonic()
