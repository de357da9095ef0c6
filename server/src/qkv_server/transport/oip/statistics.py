"""How often models were asked, and where the time went. Kept by the event loop, which needs no lock."""

import time
from dataclasses import dataclass, field

from qkv.third_party.open_inference_pb2 import InferStatistics, ModelStatistics, StatisticDuration


@dataclass(slots=True)
class Duration:
    """How often something was done, and how long all of it took."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count it once more."""
        self.count += 1
        self.seconds += seconds

    def message(self) -> StatisticDuration:
        """As the protocol says it."""
        return StatisticDuration(count=self.count, ns=int(self.seconds * 1e9))


@dataclass(slots=True)
class Statistics:
    """The counts of one model since the server started."""

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute: Duration = field(default_factory=Duration)
    last_milliseconds: int = 0

    def succeeded(self, seconds: float, queue_seconds: float, compute_seconds: float) -> None:
        """Count a call that was answered."""
        self.success.add(seconds)
        self.queue.add(queue_seconds)
        self.compute.add(compute_seconds)
        self.last_milliseconds = time.time_ns() // 1_000_000

    def failed(self, seconds: float) -> None:
        """Count a call that was refused or failed."""
        self.fail.add(seconds)
        self.last_milliseconds = time.time_ns() // 1_000_000

    def message(self, name: str, version: str) -> ModelStatistics:
        """As Triton says it. Every call is computed by itself: there are as many computations as answers."""
        return ModelStatistics(
            name=name,
            version=version,
            last_inference=self.last_milliseconds,
            inference_count=self.success.count,
            execution_count=self.success.count,
            inference_stats=InferStatistics(
                success=self.success.message(),
                fail=self.fail.message(),
                queue=self.queue.message(),
                compute_infer=self.compute.message(),
            ),
        )
