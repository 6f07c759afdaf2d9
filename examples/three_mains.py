"""Three Mains: physics moves a swarm, ai steers it, render draws it (``--window``: on the screen), Support between."""

# ruff: noqa: A002 (globals is a memory of the unit)
import sys

import numpy as np

import loom
from loom import In, InOut, f32, u32

COUNT, SIDE, FRAMES = 256, 128, 40


@loom.kernel(workgroup=64)
def move(registers: InOut[f32], x: f32, y: f32):
    i = 4 * loom.global_id()
    if i + 3 < len(registers):
        for k, target in ((0, x), (1, y)):
            registers[i + 2 + k] = registers[i + 2 + k] * 0.98 + (target - registers[i + k]) * 0.01
            registers[i + k] += registers[i + 2 + k]


@loom.kernel(workgroup=1)
def steer(registers: InOut[f32], turn: f32):
    x, y, c, s = registers[0] - 0.5, registers[1] - 0.5, loom.cos(turn), loom.sin(turn)
    registers[0], registers[1] = 0.5 + x * c - y * s, 0.5 + x * s + y * c


@loom.kernel(workgroup=64)
def draw(globals: InOut[u32], registers: In[f32], side: u32):
    i, glow = loom.global_id(), u32(0)
    for k in range(0, len(registers), 4):
        dx, dy = registers[k] * f32(side) - f32(i % side), registers[k + 1] * f32(side) - f32(i // side)
        glow += loom.select(dx * dx + dy * dy < 6.0, u32(24), u32(0))
    globals[i] = u32(0xFF301008) + (min(glow, u32(200)) << 8) + min(glow // 2, u32(200))


swarm = np.zeros((COUNT, 4), np.float32)  # x, y and their speeds
swarm[:, :2] = np.random.default_rng(1).random((COUNT, 2))
words = {"physics": (4 * COUNT, 0), "ai": (2, 0), "render": (4 * COUNT, SIDE * SIDE)}
sizes = {name: {"registers": own, "globals": pixels} for name, (own, pixels) in words.items()}
in_window, shape = "--window" in sys.argv, (SIDE, SIDE)
screen = loom.Window("three Mains", shape=shape, scale=4) if in_window else loom.Latest()
with loom.Engine(mains=sizes) as engine:
    (support := engine.support).upload("physics", swarm.reshape(-1), binding="registers")
    support.upload("ai", np.array([0.8, 0.5], np.float32), binding="registers")

    def step(_number):
        target = support.download("ai", dtype="f32", binding="registers").result()
        support.upload("render", support.download("physics", binding="registers").result(), binding="registers")
        engine["ai"].dispatch(steer, [0.1])
        engine["physics"].dispatch(move, target.tolist(), groups=COUNT // 64)
        engine["render"].dispatch(draw, [SIDE], groups=SIDE * SIDE // 64)
        return not (in_window and any(event.kind == "close" for event in screen.poll_events()))

    shown = engine.frames(step, count=None if in_window else FRAMES, present={"render": loom.View(shape, screen)})
    last = support.download("physics", dtype="f32", binding="registers").result().reshape(COUNT, 4)
print(f"{shown} frames; the swarm is around {last[:, :2].mean(0).tolist()}, {last[:, :2].std(0).max():.3f} wide")
assert last[:, :2].std(0).max() < swarm[:, :2].std(0).min()
