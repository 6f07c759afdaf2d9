"""LLVM: native code for x86-64, AArch64, ARMv7 and wasm32, and PTX text, from one lowering.

On CPUs the lanes of a workgroup become the lanes of vector registers (SPMD on SIMD); on PTX each lane
is a thread.
"""
