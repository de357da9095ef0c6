package qkv.example;

import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import qkv.v1.ModelServiceGrpc;
import qkv.v1.ModelServiceGrpc.ModelServiceBlockingStub;
import qkv.v1.Models.Chat;
import qkv.v1.Models.EmbedRequest;
import qkv.v1.Models.GenerateRequest;
import qkv.v1.Models.ListModelsRequest;
import qkv.v1.Models.Message;
import qkv.v1.TensorOuterClass.Tensor;

/** The models of a qkv server, the vectors of two texts, and an answer that comes in pieces. */
@Command(name = "models", sortOptions = false,
        description = "The models of a qkv server, the vectors of two texts, and an answer that comes in pieces.")
public final class Models implements Callable<Integer> {
    private static final List<String> TEXTS = List.of("I love bears", "Bears are adorable");
    private static final String QUESTION = "What do bears eat?";

    /** Models write in any language, whatever the one of this machine is. */
    private static final PrintStream OUT =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

    @Mixin
    private Connection connection;

    @Option(names = "--timeout", defaultValue = "${env:QKV_TIMEOUT:-60}", paramLabel = "SECONDS",
            description = "deadline of all calls together (default: ${DEFAULT-VALUE})")
    private double timeout;

    @Option(names = "--embed-model", defaultValue = "", paramLabel = "MODEL",
            description = "the model that embeds, where there are several")
    private String embedModel;

    @Option(names = "--chat-model", defaultValue = "", paramLabel = "MODEL",
            description = "the model that chats, where there are several")
    private String chatModel;

    @Option(names = "--vectors", description = "print the vectors, too")
    private boolean vectors;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "show this help")
    private boolean help;

    public static void main(String... arguments) {
        System.exit(new CommandLine(new Models()).execute(arguments));
    }

    /** The exit status: 0, or 1 for a call that failed. picocli adds 2 for a wrong command line. */
    @Override
    public Integer call() {
        ManagedChannel channel = connection.open();
        try {
            var models = ModelServiceGrpc.newBlockingStub(channel)
                    .withDeadlineAfter((long) (timeout * 1e9), TimeUnit.NANOSECONDS);
            list(models);
            compare(models);
            chat(models);
            return 0;
        } catch (StatusRuntimeException exception) {
            System.err.println(Failure.of(exception));
            return 1;
        } finally {
            channel.shutdownNow();
        }
    }

    /** Prints the models, and what each can be asked for or why it cannot be used. */
    private static void list(ModelServiceBlockingStub models) {
        for (var model : models.listModels(ListModelsRequest.getDefaultInstance()).getModelsList()) {
            OUT.printf("%s: %s %s %s%n", model.getName(), model.getState(), model.getTasksList(), model.getReason());
        }
    }

    /** Prints how alike the texts are: the cosine of the angle between their vectors. */
    private void compare(ModelServiceBlockingStub models) {
        var response = models.embed(EmbedRequest.newBuilder().setModel(embedModel).addAllTexts(TEXTS).build());
        float[] values = float32(response.getEmbeddings()); // (texts, D), row after row
        int size = values.length / TEXTS.size();
        if (vectors) {
            OUT.println("vectors: " + Arrays.toString(values));
        }
        double cosine = cosine(Arrays.copyOf(values, size), Arrays.copyOfRange(values, size, values.length));
        OUT.printf("%s: cosine of \"%s\" and \"%s\": %.6f%n", response.getModel(), TEXTS.get(0), TEXTS.get(1), cosine);
    }

    /** The elements of a float32 tensor: little-endian, where Java's order is the other one. */
    private static float[] float32(Tensor tensor) {
        var buffer = tensor.getData().asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
        var elements = new float[buffer.remaining()];
        buffer.get(elements);
        return elements;
    }

    private static double cosine(float[] a, float[] b) {
        double dot = 0;
        double squaresA = 0;
        double squaresB = 0;
        for (int i = 0; i < a.length; i++) {
            dot += (double) a[i] * b[i];
            squaresA += (double) a[i] * a[i];
            squaresB += (double) b[i] * b[i];
        }
        return dot / Math.sqrt(squaresA * squaresB);
    }

    /** Asks a question and prints the answer piece by piece, as it comes. */
    private void chat(ModelServiceBlockingStub models) {
        var message = Message.newBuilder().setRole("user").setContent(QUESTION);
        var request = GenerateRequest.newBuilder()
                .setModel(chatModel)
                .setChat(Chat.newBuilder().addMessages(message))
                .setMaxTokens(40)
                .build();
        OUT.println(QUESTION);
        // To break off, call within an io.grpc.Context and cancel it: the server stops working on the answer.
        models.generate(request).forEachRemaining(piece -> {
            OUT.print(piece.getText());
            OUT.flush();
            if (piece.hasUsage()) { // the last piece
                OUT.printf("%n%s: %s after %d tokens%n", piece.getModel(), piece.getFinishReason(),
                        piece.getUsage().getOutputTokens());
            }
        });
    }
}
