package qkv.example;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import com.google.protobuf.ByteString;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import qkv.v1.Attention.AttentionRequest;
import qkv.v1.Attention.MultiHead;
import qkv.v1.Attention.Quantity;
import qkv.v1.AttentionServiceGrpc;
import qkv.v1.TensorOuterClass.DataType;
import qkv.v1.TensorOuterClass.Operand;
import qkv.v1.TensorOuterClass.Tensor;

/** Self-attention of "I love bears" with several heads, computed by a qkv server in float32. */
@Command(name = "example", sortOptions = false,
        description = "Self-attention of \"I love bears\" with several heads, computed by a qkv server in float32.")
public final class Example implements Callable<Integer> {
    private static final List<String> WORDS = List.of("I", "love", "bears");
    private static final float[] EMBEDDINGS = { // (3, 4), row after row
        0.5f, 0.8f, 0.2f, 0.6f,
        0.7f, 0.1f, 0.9f, 0.3f,
        0.4f, 0.6f, 0.3f, 0.8f,
    };

    @Mixin
    private Connection connection;

    @Option(names = "--timeout", defaultValue = "${env:QKV_TIMEOUT:-60}", paramLabel = "SECONDS",
            description = "deadline of the call (default: ${DEFAULT-VALUE})")
    private double timeout;

    @Option(names = "--heads", defaultValue = "2",
            description = "number of heads; one that does not divide 4 shows an error (default: ${DEFAULT-VALUE})")
    private int heads;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "show this help")
    private boolean help;

    public static void main(String... arguments) {
        System.exit(new CommandLine(new Example()).execute(arguments));
    }

    /** The exit status: 0, or 1 for a call that failed. picocli adds 2 for a wrong command line. */
    @Override
    public Integer call() {
        var request = AttentionRequest.newBuilder()
                .setQuery(float32(EMBEDDINGS, 3, 4)) // key and value unset: the query, which is self-attention
                .setMultiHead(MultiHead.newBuilder().setHeads(heads))
                .addOutputs(Quantity.QUANTITY_AVERAGED_WEIGHTS)
                .build();
        ManagedChannel channel = connection.open();
        try {
            var response = AttentionServiceGrpc.newBlockingStub(channel)
                    .withDeadlineAfter((long) (timeout * 1e9), TimeUnit.NANOSECONDS)
                    .attend(request);
            printTable("Attention weights, averaged over the heads", response.getAveragedWeights());
            printTable("New embeddings", response.getOutput());
            return 0;
        } catch (StatusRuntimeException exception) {
            System.err.println(Failure.of(exception));
            return 1;
        } finally {
            channel.shutdownNow();
        }
    }

    /** An operand of float32 elements in C order: little-endian, the last axis varies fastest, no padding. */
    private static Operand float32(float[] elements, long... shape) {
        var bytes = ByteBuffer.allocate(elements.length * Float.BYTES).order(LITTLE_ENDIAN); // Java's is big
        bytes.asFloatBuffer().put(elements);
        var tensor = Tensor.newBuilder().setDataType(DataType.DATA_TYPE_FLOAT32).setData(ByteString.copyFrom(bytes));
        for (long length : shape) {
            tensor.addShape(length);
        }
        return Operand.newBuilder().setTensor(tensor).build();
    }

    /** Prints a (words, columns) answer, which has the type of the query. */
    private static void printTable(String title, Operand answer) {
        Tensor tensor = answer.getTensor();
        FloatBuffer elements = tensor.getData().asReadOnlyByteBuffer().order(LITTLE_ENDIAN).asFloatBuffer();
        System.out.println(title);
        for (String word : WORDS) {
            System.out.printf("  %-6s", word);
            for (long column = 0; column < tensor.getShape(1); column++) {
                System.out.printf("%10.6f", elements.get());
            }
            System.out.println();
        }
    }
}
