"""Adapters of one kind as devices by name: the best is ``kind``, the second best ``kind:1``.

Layer: runtime. Invariant: an adapter is opened once; one that was refused is refused again for the same reason, one
that was lost is opened anew when it is asked for again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from loom.core.errors import DeviceError
from loom.runtime.port.device import DeviceInfo

__all__ = ["NumberedDevices"]


class _Named(Protocol):
    name: str


class _Described(Protocol):
    def describe(self) -> DeviceInfo: ...


_Device = TypeVar("_Device", bound=_Described)


class NumberedDevices(Generic[_Device]):
    """The adapters that ``find`` gives, best first, opened by ``make(adapter, name)``.

    ``nobody``: the error's text where there is no adapter. ``refused(adapter, name, why)`` tells of a refused one.
    ``is_gone`` looks whether an opened device has to be opened anew; ``forget`` is called in a fork.
    """

    def __init__(
        self,
        kind: str,
        nobody: str,
        find: Callable[[], Sequence[Any]],
        make: Callable[[Any, str], _Device],
        refused: Callable[[Any, str, str], DeviceInfo],
        is_gone: Callable[[_Device], bool],
        forget: Callable[[], None],
    ) -> None:
        self.kind, self.nobody = kind, nobody
        self._find, self._make, self._told, self._is_gone, self._forget = find, make, refused, is_gone, forget
        self._opened: dict[int, _Device] = {}
        self._refused: dict[int, DeviceError] = {}
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def open(self, name: str, where: str = "loom.device") -> _Device:
        """Return the device called ``kind`` or ``kind:N``; DeviceError if there is none, or it was refused."""
        adapters: Sequence[_Named] = self._find()
        number = name.removeprefix(self.kind).removeprefix(":") or "0"
        if not adapters:
            raise DeviceError(where, self.nobody, remedy="Install a GPU's driver, or mesa-vulkan-drivers for the CPU")
        if not number.isdecimal() or int(number) >= len(adapters):
            present = ", ".join(f"{self.kind}:{n} ({a.name})" for n, a in enumerate(adapters))
            raise DeviceError(where, f"no device is called {name!r}", expected=present, remedy="Use one of them")
        return self._device(int(number))

    def infos(self) -> list[DeviceInfo]:
        """Return all adapters, opened and tested, those refused with the reason; none where nobody can be asked."""
        try:
            adapters = self._find()
        except DeviceError:
            return []
        infos: list[DeviceInfo] = []
        for number, adapter in enumerate(adapters):
            try:
                infos.append(self._device(number).describe())
            except DeviceError as error:
                infos.append(self._told(adapter, self._name(number), error.what))
        return infos

    def _name(self, number: int) -> str:
        return self.kind if number == 0 else f"{self.kind}:{number}"

    def _device(self, number: int) -> _Device:
        with self._lock:
            if number in self._refused:
                raise self._refused[number].with_traceback(None)
            found = self._opened.get(number)
            if found is None or self._is_gone(found):
                try:
                    found = self._opened[number] = self._make(self._find()[number], self._name(number))
                except DeviceError as error:
                    self._refused[number] = error
                    raise
            return found

    def _after_fork(self) -> None:
        """Forget what belongs to the process that this one was forked from; devices asked for are opened anew."""
        self._lock = threading.RLock()  # it may have been copied locked
        self._opened.clear()
        self._refused.clear()
        self._forget()
