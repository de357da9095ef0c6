package qkv.conformance;

import static java.nio.ByteOrder.LITTLE_ENDIAN;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.gson.Gson;
import com.google.gson.JsonParser;
import com.google.gson.annotations.SerializedName;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import qkv.v1.TensorOuterClass.DataType;
import qkv.v1.TensorOuterClass.Tensor;

/**
 * The tensors of a safetensors file: the header's length in 8 bytes, the header in JSON, the data. Bytes are taken as
 * they stand, since qkv's Tensor lays them out in the same way.
 */
record Safetensors(Map<String, Tensor> tensors) {
    static final Safetensors NONE = new Safetensors(Map.of());

    private record Entry(String dtype, List<Long> shape, @SerializedName("data_offsets") int[] offsets) {}

    Tensor get(String name) {
        if (!tensors.containsKey(name)) {
            throw new IllegalArgumentException("no tensor " + name + " in the file");
        }
        return tensors.get(name);
    }

    static Safetensors read(Path file) throws IOException {
        var bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(LITTLE_ENDIAN);
        var header = new byte[Math.toIntExact(bytes.getLong())];
        bytes.get(header);
        ByteBuffer data = bytes.slice();
        var tensors = new HashMap<String, Tensor>();
        var entries = JsonParser.parseString(new String(header, UTF_8)).getAsJsonObject();
        entries.remove("__metadata__");
        entries.entrySet().forEach(named -> {
            var entry = new Gson().fromJson(named.getValue(), Entry.class);
            int begin = entry.offsets[0];
            int end = entry.offsets[1];
            tensors.put(named.getKey(), Tensor.newBuilder()
                    .setDataType(dataType(entry.dtype))
                    .addAllShape(entry.shape)
                    .setData(ByteString.copyFrom(data.slice(begin, end - begin)))
                    .build());
        });
        return new Safetensors(tensors);
    }

    private static DataType dataType(String dtype) {
        return switch (dtype) {
            case "F64" -> DataType.DATA_TYPE_FLOAT64;
            case "F32" -> DataType.DATA_TYPE_FLOAT32;
            case "F16" -> DataType.DATA_TYPE_FLOAT16;
            case "BF16" -> DataType.DATA_TYPE_BFLOAT16;
            case "BOOL" -> DataType.DATA_TYPE_BOOL;
            case "I64" -> DataType.DATA_TYPE_INT64;
            case "I32" -> DataType.DATA_TYPE_INT32;
            case "I8" -> DataType.DATA_TYPE_INT8;
            case "U8" -> DataType.DATA_TYPE_UINT8;
            default -> throw new IllegalArgumentException("safetensors dtype " + dtype + " has no DataType");
        };
    }
}
