"""Two galaxies of 1,024 stars each pass one another; sums of forces have one order, so that every device agrees."""

import numpy as np
from pictures import keep

import loom
from loom import In, InOut, f32


@loom.kernel(workgroup=64)
def pull(place: In[f32, 2], speed: InOut[f32, 2], dt: f32):
    i = loom.global_id()
    if i < place.shape[0]:
        ax, ay = f32(0.0), f32(0.0)
        for j in range(place.shape[0]):
            dx, dy = place[j, 0] - place[i, 0], place[j, 1] - place[i, 1]
            near = dx * dx + dy * dy + 0.002
            force = 1.0 / (near * loom.sqrt(near))
            ax, ay = ax + dx * force, ay + dy * force
        speed[i, 0] += ax * dt / f32(place.shape[0])
        speed[i, 1] += ay * dt / f32(place.shape[0])


@loom.kernel(workgroup=64)
def move(place: InOut[f32, 2], speed: In[f32, 2], dt: f32):
    i = loom.global_id()
    if i < place.shape[0]:
        place[i, 0] += speed[i, 0] * dt
        place[i, 1] += speed[i, 1] * dt


turn = loom.random.uniform(2048, seed=1) * np.float32(6.2831853)
radius = np.sqrt(loom.random.uniform(2048, seed=2)) * np.float32(0.3)
x, y = np.asarray(loom.gpu_cos(turn)), np.asarray(loom.gpu_sin(turn))
side = np.where(np.arange(2048) < 1024, np.float32(-0.5), np.float32(0.5))
place = np.stack([x * radius + side, y * radius + side * np.float32(0.4)], 1)
speed = np.stack([-y, x], 1) * np.sqrt(radius)[:, None] + np.stack([-side * np.float32(0.6), 0 * side], 1)
places, speeds = loom.array(place), loom.array(speed)
for _ in range(60):
    pull(places, speeds, dt=0.01)
    move(places, speeds, dt=0.01)

sky = np.zeros((300, 400), np.float32)
at = np.rint(places.numpy() * 260 + [200, 150]).astype(int).clip([0, 0], [399, 299])
np.add.at(sky, (at[:, 1], at[:, 0]), np.float32(0.4))
assert keep("nbody", loom.Frame(sky)) == "1adc8e15f8c7ed48"
