"""The numbers of SPIR-V that Loom writes, as tables.

Layer: targets. Invariant: every entry equals the one of that name in the official grammar
(``spirv.core.grammar.json``, ``extinst.glsl.std.450.grammar.json``; tested).
"""

from __future__ import annotations

__all__ = [
    "BUILT_IN", "CAPABILITY", "DECORATION", "EXECUTION_MODE", "FLOAT_CONTROLS2", "FP_FAST_MATH_DEFAULT", "GLSL",
    "MAGIC", "OP", "STORAGE", "SUBGROUP_CAPABILITIES", "VERSION", "YOUNGER",
]  # fmt: skip

MAGIC = 0x07230203
VERSION = 0x00010300
"""SPIR-V 1.3, which every Vulkan 1.1 device takes."""

OP: dict[str, int] = {
    "Extension": 10, "ExtInstImport": 11, "ExtInst": 12, "MemoryModel": 14, "EntryPoint": 15, "ExecutionMode": 16,
    "Capability": 17, "TypeVoid": 19, "TypeBool": 20, "TypeInt": 21, "TypeFloat": 22, "TypeVector": 23,
    "TypeMatrix": 24, "TypeImage": 25, "TypeSampler": 26, "TypeSampledImage": 27, "TypeArray": 28,
    "TypeRuntimeArray": 29, "TypeStruct": 30, "TypePointer": 32, "TypeFunction": 33,
    "MemberName": 6, "ConstantTrue": 41, "ConstantFalse": 42, "Constant": 43, "ConstantComposite": 44,
    "ConstantNull": 46, "SpecConstant": 50, "SpecConstantComposite": 51, "Function": 54, "FunctionEnd": 56,
    "Variable": 59, "Load": 61, "Store": 62, "AccessChain": 65, "Decorate": 71, "MemberDecorate": 72,
    "CompositeConstruct": 80, "CompositeExtract": 81,
    "ConvertFToU": 109, "ConvertFToS": 110, "ConvertSToF": 111, "ConvertUToF": 112,
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
    "Unreachable": 255, "ExecutionModeId": 331, "SDot": 4450, "SUDot": 4452, "TypeCooperativeMatrixKHR": 4456,
    "CooperativeMatrixLoadKHR": 4457, "CooperativeMatrixStoreKHR": 4458, "CooperativeMatrixMulAddKHR": 4459,
}  # fmt: skip

GLSL: dict[str, int] = {"RoundEven": 2, "Trunc": 3, "Floor": 8, "Ceil": 9, "Sqrt": 31, "FindUMsb": 75}

CAPABILITY: dict[str, int] = {
    "Matrix": 0, "Shader": 1, "Float64": 10, "Int64": 11, "Int64Atomics": 12, "Int16": 22, "Int8": 39,
    "StorageBuffer16BitAccess": 4433, "StorageBuffer8BitAccess": 4448, "DenormPreserve": 4464,
    "GroupNonUniform": 61, "GroupNonUniformVote": 62, "GroupNonUniformArithmetic": 63, "GroupNonUniformBallot": 64,
    "GroupNonUniformShuffle": 65, "GroupNonUniformShuffleRelative": 66, "GroupNonUniformClustered": 67,
    "GroupNonUniformQuad": 68, "DenormFlushToZero": 4465, "SignedZeroInfNanPreserve": 4466,
    "RoundingModeRTE": 4467, "RoundingModeRTZ": 4468, "DotProductInput4x8BitPacked": 6018, "DotProduct": 6019,
    "CooperativeMatrixKHR": 6022,
    "VulkanMemoryModel": 5345,
}  # fmt: skip

SUBGROUP_CAPABILITIES: dict[str, int] = {
    "GroupNonUniform": 0x1, "GroupNonUniformVote": 0x2, "GroupNonUniformArithmetic": 0x4,
    "GroupNonUniformBallot": 0x8, "GroupNonUniformShuffle": 0x10, "GroupNonUniformShuffleRelative": 0x20,
    "GroupNonUniformClustered": 0x40, "GroupNonUniformQuad": 0x80,
}  # fmt: skip
"""What Vulkan calls VkSubgroupFeatureFlagBits; the capabilities' own numbers are above."""

STORAGE: dict[str, int] = {
    "UniformConstant": 0, "Input": 1, "Uniform": 2, "Workgroup": 4, "Function": 7, "PushConstant": 9,
    "StorageBuffer": 12,
}  # fmt: skip

DECORATION: dict[str, int] = {
    "SpecId": 1, "Block": 2, "BufferBlock": 3, "ArrayStride": 6, "BuiltIn": 11, "NonWritable": 24, "NonReadable": 25,
    "Binding": 33, "DescriptorSet": 34, "Offset": 35, "NoContraction": 42,
}  # fmt: skip

BUILT_IN: dict[str, int] = {
    "NumWorkgroups": 24, "WorkgroupSize": 25, "WorkgroupId": 26, "LocalInvocationId": 27, "GlobalInvocationId": 28,
}  # fmt: skip

EXECUTION_MODE: dict[str, int] = {
    "LocalSize": 17, "LocalSizeId": 38, "DenormPreserve": 4459, "SignedZeroInfNanPreserve": 4461,
    "RoundingModeRTE": 4462,
}  # fmt: skip

YOUNGER = frozenset((
    "TypeCooperativeMatrixKHR", "CooperativeMatrixLoadKHR", "CooperativeMatrixStoreKHR", "CooperativeMatrixMulAddKHR",
    "CooperativeMatrixKHR",
))  # fmt: skip
"""What grammars that systems have need not know."""
FLOAT_CONTROLS2, FP_FAST_MATH_DEFAULT = 6029, 6028
"""Capability and execution mode of SPV_KHR_float_controls2, younger than the grammars that systems have."""
