package qkv.conformance;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import java.nio.ByteBuffer;
import qkv.v1.TensorOuterClass.DataType;
import qkv.v1.TensorOuterClass.Operand;
import qkv.v1.TensorOuterClass.Tensor;

/** The elements of an array in C order, whatever their type, as doubles. */
final class Elements {
    private Elements() {}

    static double[] of(Operand operand) {
        return operand.hasMatrix()
                ? operand.getMatrix().getValuesList().stream().mapToDouble(Double::doubleValue).toArray()
                : of(operand.getTensor());
    }

    static double[] of(Tensor tensor) {
        long count = tensor.getShapeList().stream().reduce(1L, Math::multiplyExact);
        ByteBuffer bytes = tensor.getData().asReadOnlyByteBuffer().order(LITTLE_ENDIAN);
        if (bytes.remaining() != Math.multiplyExact(count, width(tensor.getDataType()))) {
            throw new IllegalArgumentException(bytes.remaining() + " bytes are not " + count + " elements");
        }
        var elements = new double[Math.toIntExact(count)];
        for (int i = 0; i < elements.length; i++) {
            elements[i] = next(bytes, tensor.getDataType());
        }
        return elements;
    }

    private static int width(DataType type) {
        return switch (type) {
            case DATA_TYPE_FLOAT64, DATA_TYPE_INT64 -> 8;
            case DATA_TYPE_FLOAT32, DATA_TYPE_INT32 -> 4;
            case DATA_TYPE_FLOAT16, DATA_TYPE_BFLOAT16 -> 2;
            case DATA_TYPE_BOOL, DATA_TYPE_INT8, DATA_TYPE_UINT8 -> 1;
            case DATA_TYPE_UNSPECIFIED, UNRECOGNIZED -> throw new IllegalArgumentException("a tensor without a type");
        };
    }

    private static double next(ByteBuffer bytes, DataType type) {
        return switch (type) {
            case DATA_TYPE_FLOAT64 -> bytes.getDouble();
            case DATA_TYPE_FLOAT32 -> bytes.getFloat();
            case DATA_TYPE_FLOAT16 -> fromFloat16(bytes.getShort());
            case DATA_TYPE_BFLOAT16 -> Float.intBitsToFloat(bytes.getShort() << 16); // the upper half of a binary32
            case DATA_TYPE_INT64 -> bytes.getLong();
            case DATA_TYPE_INT32 -> bytes.getInt();
            case DATA_TYPE_INT8 -> bytes.get();
            case DATA_TYPE_BOOL, DATA_TYPE_UINT8 -> Byte.toUnsignedInt(bytes.get());
            case DATA_TYPE_UNSPECIFIED, UNRECOGNIZED -> throw new IllegalArgumentException("a tensor without a type");
        };
    }

    /** IEEE 754 binary16: 1 sign, 5 exponent and 10 fraction bits. Java has Float.float16ToFloat from version 20 on. */
    private static double fromFloat16(short bits) {
        int exponent = bits >> 10 & 0x1f;
        int fraction = bits & 0x3ff;
        double magnitude = switch (exponent) {
            case 0 -> Math.scalb((double) fraction, -24); // zero and subnormal
            case 0x1f -> fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
            default -> Math.scalb((double) (fraction | 0x400), exponent - 25);
        };
        return bits < 0 ? -magnitude : magnitude;
    }
}
