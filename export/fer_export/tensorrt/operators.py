"""The operators that TensorRT's ONNX parser has, with the types that they take.

The data are from docs/operators.md and docs/Changelog.md of https://github.com/onnx/onnx-tensorrt.
An operator is listed if both TensorRT 10.15 and 8.5 support it, or if the changelog dates it to
10.3 or earlier. Mish is added because NVIDIA's parser accepted it. So every version from 10.3
(JetPack 6.1) on has each of them.
"""

from __future__ import annotations

TYPES = {
    "float": ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"),
    "int": ("INT32", "INT64"),
    "bool": ("BOOL",),
    "int8": ("INT8",),
    "uint8": ("UINT8",),
}
"""ONNX's names of the types in the table below."""

_BY_TYPES = {
    "float": """
        Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv
        ConvTranspose Cos Cosh CumSum Dropout Einsum Elu Erf Exp Floor GRU Gemm GlobalAveragePool
        GlobalLpPool GlobalMaxPool GridSample GroupNormalization HardSigmoid HardSwish Hardmax
        InstanceNormalization IsInf LRN LSTM LayerNormalization LeakyRelu Log LogSoftmax
        LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization Mish NonMaxSuppression
        NonZero PRelu QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform
        RandomUniformLike Reciprocal Resize RoiAlign Round Scan Selu Sigmoid Sin Sinh
        Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Upsample
    """,
    "float int": """
        Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual
        Max Mean Min Mod Mul Neg Pad Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
        ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Scatter
        ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK
    """,
    "float int bool": """
        Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND
        Identity If Loop OneHot Reshape ReverseSequence Shape Size Slice Split Squeeze Tile
        Transpose Trilu Unsqueeze Where
    """,
    "float int bool uint8 int8": "Cast",
    "bool": "And Not Or Xor",
    "int8": "DequantizeLinear",
}

OPERATORS: dict[str, frozenset[str]] = {
    operator: frozenset(name for kind in kinds.split() for name in TYPES[kind])
    for kinds, operators in _BY_TYPES.items()
    for operator in operators.split()
}
"""Names of the types that an operator's first input may have, by operator."""

CONSTANT_INPUTS: dict[str, tuple[int, ...]] = {
    **{name: (1,) for name in OPERATORS if name.startswith("Reduce")},
    "CumSum": (1,),
    "OneHot": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}
"""Positions of the inputs that must be known when the engine is built, by operator."""
