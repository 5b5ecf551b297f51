"""Converted and compiled networks, kept on disk from one start to the next.

They lie in `$XDG_CACHE_HOME/lane_sad_ros` (`~/.cache/lane_sad_ros`). A file's name holds what it
was made from and the digest of its content: one that is stale, cut or damaged is not found and is
made again. A folder that can't be written to, or read, costs time, nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
from pathlib import Path

from torch import nn

from lane_sad_ros.cores import all_cores
from lane_sad_ros.detection.engines.base import Job
from lane_sad_ros.files import replacing

_KEPT = 64  # files


def folder() -> Path:
    """Where the files lie. Raises OSError for a user without a home, as in some containers."""
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(home) if home else Path.home() / ".cache") / "lane_sad_ros"
    except RuntimeError as error:
        raise FileNotFoundError(str(error)) from error


def key(job: Job, *parts: str) -> str:
    """The name of what is made of a job's network on this machine by this version of the code.

    parts: what else it depends on.
    """
    text = [machine(), _code(), fingerprint(job), str(job.device), str(job.threads), *parts]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:24]


def find(key: str, suffix: str) -> Path | None:
    """The file kept under a key, None if there is none that is whole."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        found.extend(folder().glob(f"{key}-*{suffix}"))
    for path in found:
        with contextlib.suppress(OSError):
            if path.name == _name(key, path.read_bytes(), suffix):
                return path
            path.unlink()
    return None


def keep(key: str, suffix: str, content: bytes) -> None:
    """Keeps a file under a key, and removes the oldest of too many."""
    with contextlib.suppress(OSError):
        with replacing(folder() / _name(key, content, suffix)) as partial:
            partial.write_bytes(content)
        files = sorted(folder().glob("*-*.*"), key=lambda path: path.stat().st_mtime)
        for path in files[:-_KEPT]:
            path.unlink()


def _name(key: str, content: bytes, suffix: str) -> str:
    return f"{key}-{hashlib.sha256(content).hexdigest()[:16]}{suffix}"


@functools.cache
def machine() -> str:
    """The processor, its instructions and the number of its cores."""
    flags = _cpuinfo().get("flags") or _cpuinfo().get("Features", "")
    return f"{processor()} {flags} {all_cores()}"


def processor() -> str:
    """The processor's name."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """What Linux says of one of the cores."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        pairs = (line.partition(":") for line in lines)
        return {name.strip(): value.strip() for name, _, value in pairs}
    return {}


@functools.cache
def _code() -> str:
    """The digest of the package's version and of the code that makes an engine of a network."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[2]
    made_by = ("__init__.py", "network/*.py", "detection/*.py", "detection/engines/*.py")
    for path in sorted(path for pattern in made_by for path in package.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fingerprint(job: Job) -> str:
    """The digest of a network's weights and of the colours it expects."""
    digest = hashlib.sha256(f"{job.layout.to_json()}".encode())
    if isinstance(job.network, nn.Module):
        digest.update(repr(job.network).encode())
        for name, tensor in job.network.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    else:
        digest.update(job.network.read_bytes())
    return digest.hexdigest()
