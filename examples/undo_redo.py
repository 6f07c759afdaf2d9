"""Explicit Support: a counter whose state lives in a unit of its own, with undo, redo and a crash-safe checkpoint."""

import tempfile

import loom
from loom import InOut, u32


@loom.kernel(workgroup=1)
def show(registers: InOut[u32], value: u32):
    registers[0] = value * value


with tempfile.TemporaryDirectory() as folder:
    with loom.Engine(mains={"render": {"registers": 1}}, support={"registers": 1}) as engine:
        for value in (3, 5, 8):
            engine.state.write([value], binding="registers")
            engine.support.snapshot(f"set to {value}", units=["support"])
        back = engine.support.undo().result()
        again = engine.support.redo().result()
        engine.support.undo()
        value = int(engine.state.read()[0])
        engine["render"].dispatch(show, [value])
        engine.launch()
        shown = int(engine.support.download("render").result()[0])
        engine.support.checkpoint(folder, facts={"last": back})

    with loom.Engine(mains={"render": {"registers": 1}}, support={"registers": 1}) as engine:
        facts = engine.support.resume(folder).result()
        resumed = int(engine.state.read()[0])

print(f"undone to {back!r}, shown {shown}, resumed at {resumed} with {facts}")
assert (back, again, value, shown) == ("set to 5", "set to 8", 5, 25)
assert (resumed, facts) == (5, {"last": "set to 5"})
