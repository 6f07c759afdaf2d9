"""Finding a bug: ``loom.debug()`` runs the kernel in the interpreter and reports the first wrong access."""

import numpy as np

import loom
from loom import In, Out, f32


@loom.kernel(workgroup=64)
def differences(x: In[f32], out: Out[f32]):
    i = loom.global_id()
    out[i] = x[i + 1] - x[i]  # the last lane reads one too far


x = np.arange(64, dtype=np.float32) ** 2
out = np.zeros(64, np.float32)
chain = loom.Chain()
chain.dispatch(differences, [x, out], groups=1)
program = chain.build()

program.run()  # outside, an index beyond the end reads 0
print("without debugging, the last element is", out[-1])

found = None
with loom.debug():
    try:
        program.run()
    except loom.LoomError as error:
        found = error

print(found)
assert isinstance(found, IndexError)
assert "debug_kernel.py:12" in str(found)
assert "outside buffer 'x' in lane 63" in str(found)
