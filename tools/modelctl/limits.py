"""What a model may take of the machine that is to run it: its function, or an instance with a GPU."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

from models.config import FunctionConfig, ModelConfig

__all__ = ["GPU_MEMORY", "GPU_SECONDS", "Limits"]

GPU_MEMORY = 16_384
"""MB of an ml.g4dn.xlarge, the default of `gpu_instance_type` and the smallest."""
GPU_SECONDS = 60
"""What SageMaker waits for an answer."""
_GPU_CPUS = 4  # of the same instance
_VCPU_MEMORY = 1769  # MB that come with one virtual CPU of Lambda


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Memory (MB), time and threads, and what to say of a model that needs more."""

    memory: int
    seconds: int
    threads: int
    too_large: str
    too_slow: str

    @classmethod
    def of(cls, config: ModelConfig) -> Self:
        """Of what `target` names."""
        return cls.of_instance() if config.target == "gpu" else cls.of_function(config.function)

    @classmethod
    def of_function(cls, function: FunctionConfig) -> Self:
        return cls(
            memory=function.memory,
            seconds=function.timeout,
            threads=max(1, function.memory // _VCPU_MEMORY),
            too_large=f"needs more than the {function.memory:,} MB of its function; raise `memory` in model.toml, or make it smaller",
            too_slow=f"did not load and answer within {function.timeout} s; raise `timeout` in model.toml, or make it smaller",
        )

    @classmethod
    def of_instance(cls) -> Self:
        """No more than this machine has: what it can't try, it can't vouch for."""
        memory = min(GPU_MEMORY, _machine())
        whose = "this machine, which tries it before an instance with a GPU does" if memory < GPU_MEMORY else "an instance with a GPU"
        return cls(
            memory=memory,
            seconds=GPU_SECONDS,
            threads=_GPU_CPUS,
            too_large=f"needs more than the {memory:,} MB of {whose}; make it smaller",
            too_slow=f"did not load and answer within the {GPU_SECONDS} s that SageMaker waits, on this machine's CPU; make it smaller",
        )


def _machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
