"""GPUs, contexts, streams and events of the emulated driver."""

from __future__ import annotations

from typing import Any

from emulation.driver.base import INVALID_HANDLE, INVALID_VALUE, Base, Context, Failure
from emulation.driver.streams import Event, Stream

__all__ = ["Devices"]

_NOT_READY, _INVALID_DEVICE, _PEER_TWICE = 600, 101, 704
_NON_BLOCKING, _UNTIMED = 1, 2


class Devices(Base):
    """The functions that tell of GPUs and order their work."""

    reaches = True
    """Whether GPUs have each other's memory within reach."""
    idled = 0
    """How often all of a GPU was waited for."""

    def cuInit(self, flags: int) -> None:
        if flags:
            raise Failure(INVALID_VALUE)

    def cuDriverGetVersion(self) -> int:
        return self.version

    def cuDeviceGetCount(self) -> int:
        return self.count

    def cuDeviceGet(self, number: int) -> int:
        if not 0 <= number < self.count:
            raise Failure(_INVALID_DEVICE)
        return number

    def cuDeviceGetName(self, size: int, device: Any) -> bytes:
        return f"{self.code.name} GPU sm_{self.chip[0]}{self.chip[1]}".encode().ljust(size, b"\0")[:size]

    def cuDeviceTotalMem(self, device: Any) -> int:
        return self.room

    def cuDeviceGetAttribute(self, attribute: Any, device: Any) -> int:
        return self.attributes[attribute.name.removeprefix("CU_DEVICE_ATTRIBUTE_")]

    def cuDeviceCanAccessPeer(self, device: Any, peer: Any) -> int:
        return int(self.reaches and int(device) != int(peer))

    # contexts

    def cuDevicePrimaryCtxRetain(self, device: Any) -> int:
        context = self.contexts[int(device)]
        if context.lost:
            raise Failure(context.lost, "the process lost this GPU")
        context.users += 1
        return context.handle

    def cuDevicePrimaryCtxRelease(self, device: Any) -> None:
        context = self.contexts[int(device)]
        if not context.users:
            raise Failure(INVALID_VALUE)
        context.users -= 1

    def cuDevicePrimaryCtxReset(self, device: Any) -> None:
        self.contexts[int(device)].users = 0

    def cuCtxGetCurrent(self) -> int:
        return self.stack[-1].handle if self.stack else 0

    def cuCtxPushCurrent(self, handle: Any) -> None:
        context = self.of(Context, handle)
        if not context.users and not context.lost:
            raise Failure(INVALID_HANDLE, "nobody retains the context")
        self.stack.append(context)

    def cuCtxPopCurrent(self) -> int:
        return self.stack.pop().handle

    def cuCtxSynchronize(self) -> None:
        self.idled += 1
        number = self.current.number
        self.finish(*[s for s in self.scheduler.streams if s.context == number])

    def cuCtxEnablePeerAccess(self, peer: Any, flags: int) -> None:
        number = self.of(Context, peer).number
        if number in self.current.peers:
            raise Failure(_PEER_TWICE)
        self.current.peers.add(number)

    # streams and events

    def cuStreamCreate(self, flags: int) -> int:
        if flags != _NON_BLOCKING:
            raise NotImplementedError("streams that wait for the default stream are not emulated")
        stream = Stream(self.current.number)
        self.scheduler.streams.append(stream)
        return self.made(stream)

    def cuStreamSynchronize(self, stream: Any) -> None:
        self.finish(self.stream(stream))

    def cuStreamWaitEvent(self, stream: Any, event: Any, flags: int) -> None:
        found = self.of(Event, event)
        self.scheduler.wait(self.stream(stream), found)
        self.waits.append((int(stream), found.recorded_in))

    def cuEventCreate(self, flags: int) -> int:
        return self.made(Event(self.current.number, not flags & _UNTIMED))

    def cuEventDestroy(self, event: Any) -> None:
        self.destroyed(Event, event)

    def cuEventRecord(self, event: Any, stream: Any) -> None:
        found, queue = self.of(Event, event), self.stream(stream)
        if found.context != queue.context:
            raise Failure(INVALID_HANDLE, "the event is of another context than the stream")
        self.scheduler.record(queue, found)
        found.recorded_in = int(stream)

    def cuEventQuery(self, event: Any) -> None:
        record = self.of(Event, event).record
        if record is not None and not self.scheduler.query(record):
            _ = self.current
            raise Failure(_NOT_READY)
        _ = self.current

    def cuEventElapsedTime(self, first: Any, last: Any) -> float:
        events = self.of(Event, first), self.of(Event, last)
        if not all(event.timed and event.record is not None for event in events):
            raise Failure(INVALID_HANDLE, "an event has no time, or was not recorded")
        records = [event.record for event in events if event.record is not None]
        if not all(record.done for record in records):
            raise Failure(_NOT_READY)
        return records[1].time - records[0].time
