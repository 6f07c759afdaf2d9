"""Ray, found and joined: the package, a cluster's address, or one started on this machine for as long as it is used.

Layer: workers. Invariant: what was started here is ended here; a Ray that was there before goes on as it was.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from loom.core.errors import ArgumentError, DeviceError, StateError
from loom.core.late.dataclass import dataclass
from loom.core.optional import load

__all__ = ["JoinedRay", "join_ray", "ray_package"]

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent that nobody asked for
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_SECONDS_TO_CONNECT = 5.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2 begins with (RFC 9113, 3.4), and settings of its own: none."""
_LEAST_STORE_NBYTES = 80 << 20
"""Ray refuses a smaller store."""


def ray_package(where: str) -> Any:
    """Return the package ``ray``; DeviceError tells how to install it."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    return load("ray", where, DeviceError)


_started: set[str] = set()
"""Addresses of those that this process started, whose CPUs are counted for nobody."""
_joined_by: dict[str, int] = {}
"""The process that was the first to use each address: one forked from it has its connections, and not its threads."""


@dataclass
class JoinedRay:
    """A Ray that this process is in; ``is_own``: this is to leave it; ``is_started``: this process began it."""

    ray: Any
    address: str
    is_own: bool
    is_started: bool = False

    def close(self) -> None:
        """Leave it, and end it if it was started here."""
        if self.is_own and not self.is_of_parent and self.ray.is_initialized():
            self.ray.shutdown()
            _print_errors(self.ray, None)
        self.is_own = False

    @property
    def is_of_parent(self) -> bool:
        """Whether it was joined by the process that this one was forked from: nothing would ever answer here."""
        return _joined_by.get(self.address, os.getpid()) != os.getpid()

    def require_own_process(self, where: str) -> JoinedRay:
        """Return itself; StateError in a process forked from the one that joined it."""
        if self.is_of_parent:
            raise StateError(where, "this process was forked from one that is in a Ray, which answers that one alone",
                             expected=f"process {_joined_by[self.address]}", got=os.getpid(),
                             remedy="Start processes with multiprocessing.get_context('spawn')")  # fmt: skip
        return self

    def answers(self) -> bool:
        """Tell whether its head can be reached now."""
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), 1.0).close()
        except OSError:
            return False
        return True

    def resources(self) -> Mapping[str, float]:
        """Return what all nodes have together, by Ray's names."""
        return self.ray.cluster_resources()


def join_ray(where: str, address: str | None, cpus: int, store_nbytes: int | None = None) -> JoinedRay:
    """Return a Ray: the one at ``address`` ("auto": this machine's), the one this process is in, or a new one.

    A new one counts ``cpus`` CPUs, and has a store of ``store_nbytes``. DeviceError where there is none, or it does
    not answer.
    """
    ray = ray_package(where)
    if ray.is_initialized():
        there = str(ray.get_runtime_context().gcs_address)
        if address not in (None, "auto", "local", there):
            raise DeviceError(where, "this process is in another Ray already", expected=address, got=there,
                              remedy="Call ray.shutdown() first, or leave the address out")  # fmt: skip
        found = JoinedRay(ray, there, is_own=False, is_started=there in _started).require_own_process(where)
        if store_nbytes is not None:
            raise ArgumentError(f"{where}, store_nbytes", "has no effect: this process is in a Ray already",
                                expected="no size", got=store_nbytes, remedy="Leave it out")  # fmt: skip
        return _register(found)
    if address in (None, "local"):
        return _start(ray, where, cpus, store_nbytes)
    if store_nbytes is not None:
        raise ArgumentError(f"{where}, store_nbytes", "the store is the cluster's", expected="no size, or no address",
                            got=store_nbytes, remedy="Leave it out")  # fmt: skip
    return _connect(ray, where, str(address))


def _start(ray: Any, where: str, cpus: int, store_nbytes: int | None) -> JoinedRay:
    if store_nbytes is not None and store_nbytes < _LEAST_STORE_NBYTES:
        raise ArgumentError(f"{where}, store_nbytes", "too small for Ray", expected=f"at least {_LEAST_STORE_NBYTES}",
                            got=store_nbytes, remedy="Leave it out")  # fmt: skip
    try:
        _init(ray, address="local", num_cpus=cpus, include_dashboard=False, object_store_memory=store_nbytes)
    except Exception as error:
        raise DeviceError(where, f"Ray cannot be started on this machine ({_brief(error)})",
                          remedy="See that /tmp and /dev/shm have room, and that ray is whole") from error  # fmt: skip
    found = JoinedRay(ray, str(ray.get_runtime_context().gcs_address), is_own=True, is_started=True)
    _started.add(found.address)
    return _register(found)


def _connect(ray: Any, where: str, address: str) -> JoinedRay:
    if address != "auto":
        _require_answer(where, address)
    try:
        _init(ray, address=address)
    except Exception as error:
        raise DeviceError(where, f"no Ray can be joined at {address!r} ({_brief(error)})",
                          remedy="Start one with ray start --head, and give its address") from None  # fmt: skip
    return _register(JoinedRay(ray, str(ray.get_runtime_context().gcs_address), is_own=True))


def _init(ray: Any, **options: Any) -> None:
    """Join quietly: without words of workers, and without the ``print`` that Ray puts in place of Python's own.

    Nor is a page shown for each worker that died: who computes is told, and ``status`` says why.
    """
    os.environ.setdefault("RAY_TQDM_PATCH_PRINT", "0")
    _print_errors(ray, lambda *_, **__: None)
    ray.init(**options, log_to_driver=False, configure_logging=True, logging_level=logging.ERROR)


def _print_errors(ray: ModuleType, how: Callable[..., None] | None) -> None:
    """Have Ray's listener show errors of a cluster so, None for its own way; it has no setting for it."""
    module = getattr(getattr(ray, "_private", None), "worker", None)
    own = getattr(module, _PRINTING, None)
    if own is not None:
        _printing.setdefault("own", own)
        setattr(module, _PRINTING, how or _printing["own"])


_PRINTING = "print_to_stdstream"
_printing: dict[str, Callable[..., None]] = {}


def _register(found: JoinedRay) -> JoinedRay:
    _joined_by.setdefault(found.address, os.getpid())
    return found


def _require_answer(where: str, address: str) -> None:
    """See that something answers at ``host:port`` as Ray does, which would else wait for ever, deaf to Ctrl-C."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ArgumentError(f"{where}, address", "not the address of a Ray", expected="host:port, or 'auto'",
                            got=repr(address), remedy="ray start --head prints it")  # fmt: skip
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT) as line:
            line.sendall(_PREFACE)
            head = line.recv(9)
    except OSError as error:
        raise DeviceError(where, f"nothing answers at {address!r} ({error})", expected="the address of a Ray's head",
                          remedy="Start one with ray start --head, and see that this machine reaches it",
                          ) from None  # fmt: skip
    if head[3:4] != b"\x04":  # settings, with which a server of gRPC begins
        raise DeviceError(where, f"what answers at {address!r} is no Ray", expected="the address of a Ray's head",
                          got=repr(head), remedy="ray start --head prints it: host:port")  # fmt: skip


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"
