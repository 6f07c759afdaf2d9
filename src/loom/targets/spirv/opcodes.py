"""The numbers of SPIR-V that Loom writes, as tables.

Layer: targets. Invariant: every entry equals the one of that name in the official grammar
(``spirv.core.grammar.json``, ``extinst.glsl.std.450.grammar.json``; tested).
"""

from __future__ import annotations

__all__ = ["BUILT_IN", "CAPABILITY", "DECORATION", "EXECUTION_MODE", "GLSL", "MAGIC", "OP", "STORAGE", "VERSION"]

MAGIC = 0x07230203
VERSION = 0x00010300
"""SPIR-V 1.3, which every Vulkan 1.1 device takes."""

OP: dict[str, int] = {
    "Extension": 10, "ExtInstImport": 11, "ExtInst": 12, "MemoryModel": 14, "EntryPoint": 15, "ExecutionMode": 16,
    "Capability": 17, "TypeVoid": 19, "TypeBool": 20, "TypeInt": 21, "TypeFloat": 22, "TypeVector": 23,
    "TypeArray": 28, "TypeRuntimeArray": 29, "TypeStruct": 30, "TypePointer": 32, "TypeFunction": 33,
    "ConstantTrue": 41, "ConstantFalse": 42, "Constant": 43, "ConstantNull": 46, "Function": 54, "FunctionEnd": 56,
    "Variable": 59, "Load": 61, "Store": 62, "AccessChain": 65, "Decorate": 71, "MemberDecorate": 72,
    "CompositeExtract": 81, "ConvertFToU": 109, "ConvertFToS": 110, "ConvertSToF": 111, "ConvertUToF": 112,
    "UConvert": 113, "SConvert": 114, "FConvert": 115, "Bitcast": 124, "SNegate": 126, "IAdd": 128, "FAdd": 129,
    "ISub": 130, "FSub": 131, "IMul": 132, "FMul": 133, "UDiv": 134, "SDiv": 135, "FDiv": 136, "UMulExtended": 151,
    "SMulExtended": 152, "LogicalEqual": 164, "LogicalNotEqual": 165, "LogicalOr": 166, "LogicalAnd": 167,
    "LogicalNot": 168, "Select": 169, "IEqual": 170, "INotEqual": 171, "UGreaterThan": 172, "SGreaterThan": 173,
    "UGreaterThanEqual": 174, "SGreaterThanEqual": 175, "ULessThan": 176, "SLessThan": 177, "ULessThanEqual": 178,
    "SLessThanEqual": 179, "FOrdEqual": 180, "FUnordNotEqual": 183, "FOrdLessThan": 184, "FOrdGreaterThan": 186,
    "FOrdLessThanEqual": 188, "FOrdGreaterThanEqual": 190, "ShiftRightLogical": 194, "ShiftRightArithmetic": 195,
    "ShiftLeftLogical": 196, "BitwiseOr": 197, "BitwiseXor": 198, "BitwiseAnd": 199, "Not": 200, "BitCount": 205,
    "ControlBarrier": 224, "AtomicLoad": 227, "AtomicExchange": 229, "AtomicCompareExchange": 230, "AtomicIAdd": 234,
    "AtomicSMin": 236,
    "AtomicUMin": 237, "AtomicSMax": 238, "AtomicUMax": 239, "AtomicAnd": 240, "AtomicOr": 241, "AtomicXor": 242,
    "LoopMerge": 246, "SelectionMerge": 247, "Label": 248, "Branch": 249, "BranchConditional": 250, "Return": 253,
    "Unreachable": 255,
}  # fmt: skip

GLSL: dict[str, int] = {"RoundEven": 2, "Trunc": 3, "Floor": 8, "Ceil": 9, "Sqrt": 31, "FindUMsb": 75}

CAPABILITY: dict[str, int] = {
    "Shader": 1, "Float64": 10, "Int64": 11, "Int64Atomics": 12, "Int16": 22, "Int8": 39,
    "StorageBuffer16BitAccess": 4433, "StorageBuffer8BitAccess": 4448, "DenormPreserve": 4464,
    "SignedZeroInfNanPreserve": 4466, "RoundingModeRTE": 4467,
}  # fmt: skip

STORAGE: dict[str, int] = {"Input": 1, "Workgroup": 4, "Function": 7, "PushConstant": 9, "StorageBuffer": 12}

DECORATION: dict[str, int] = {
    "Block": 2, "ArrayStride": 6, "BuiltIn": 11, "NonWritable": 24, "Binding": 33, "DescriptorSet": 34, "Offset": 35,
    "NoContraction": 42,
}  # fmt: skip

BUILT_IN: dict[str, int] = {"NumWorkgroups": 24, "WorkgroupId": 26, "LocalInvocationId": 27, "GlobalInvocationId": 28}

EXECUTION_MODE: dict[str, int] = {
    "LocalSize": 17, "DenormPreserve": 4459, "SignedZeroInfNanPreserve": 4461, "RoundingModeRTE": 4462,
}  # fmt: skip
