"""Two units hand each other words through a mailbox on the device; each slot keeps its own length."""

import loom
from loom import InOut, u32


@loom.kernel(workgroup=64)
def collatz(registers: InOut[u32]):
    i = loom.global_id()
    n, steps = registers[i], u32(0)
    while n > 1:
        n = loom.select(n % 2 == 0, n // 2, 3 * n + 1)
        steps += 1
    registers[i] = steps


with loom.boot(64) as worker, loom.boot(1, 256) as archive, loom.mailbox(slot_words=64, slots=4) as box:
    worker.dispatch(collatz)
    program = worker.build()
    lengths: list[int] = []
    for batch in range(4):
        worker.write([64 * batch + n + 1 for n in range(64)], binding="registers")
        program.launch()
        box.post_from(worker, 0, 64 - 8 * batch)  # after the run, before the next write
    full = box.is_full
    while not box.is_empty:
        lengths.append(box.take_into(archive, 64 * len(lengths), binding="globals"))
    steps = archive.read(0, 256, binding="globals")

print("slots held", lengths, "words; 27 takes", steps[26], "steps")
assert full
assert lengths == [64, 56, 48, 40]
assert steps[26] == 111  # OEIS A006577
