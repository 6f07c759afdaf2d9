"""Code that is linked into a process of which large arrays hold most addresses."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import ctypes
import mmap

from llvmlite import binding
from loom.runtime.drivers.cpu import code

numbers = ", ".join(f"i32 {i}" for i in range(9000))
source = f'''
@table = private constant [9000 x i32] [{numbers}]
define i32 @f(i64 %i) {{
  %at = getelementptr [9000 x i32], ptr @table, i64 0, i64 %i
  %value = load i32, ptr %at
  ret i32 %value
}}
'''
binding.initialize_native_target()
binding.initialize_native_asmprinter()
machine = binding.Target.from_default_triple().create_target_machine(reloc="pic", codemodel="default")
obj = machine.emit_object(binding.parse_assembly(source))

def maps(size, count, flags=mmap.MAP_SHARED):
    return [mmap.mmap(-1, size, flags=flags) for _ in range(count)]

code.link(obj, "f")
filled = [maps(1 << 20, 2000), maps(1 << 16, 2000), maps(8192, 4000)]  # no hole takes the table,
holes = maps(4096, 400)
NO_RESERVE = 0x4000
arrays = maps(1 << 30, 4, mmap.MAP_PRIVATE | NO_RESERVE)  # 4 GiB lie between the holes and what is free,
for hole in holes[::2]:
    hole.close()  # and only code fits into one.
linked = code.link(obj, "f")
print(ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64)(linked.address("f"))(77))
"""


def test_code_lies_near_its_constants() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "77\n", "")
