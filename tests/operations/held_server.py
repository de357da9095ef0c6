"""`qkv-server`, but that each call says so and then waits for a byte on standard input before it is computed.

A call is under way for as long as a test wants, without arithmetic that takes that long.
"""

import logging
import os
import sys
from functools import partial
from typing import Any

from google.protobuf.message import Message

from qkv.wire import Draft
from qkv_server.command import main
from qkv_server.service.attend import attend
from qkv_server.service.calls import METHODS
from qkv_server.service.workers import Prepared, Turn


def held(*arguments: Any) -> Prepared:
    prepared = attend(*arguments)
    return Prepared(partial(when_told, prepared), tiny=False)


def when_told(prepared: Prepared, turn: Turn) -> Draft[Message]:
    logging.getLogger(__name__).warning("a call is under way")
    os.read(sys.stdin.fileno(), 1)  # calls wait in several threads, which no text stream allows
    return prepared.answer(turn)


if __name__ == "__main__":
    METHODS["Attend"] = METHODS["Attend"]._replace(prepare=held)
    main()
