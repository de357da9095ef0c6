package qkv.conformance;

import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import qkv.conformance.Suite.Case;
import qkv.example.Connection;
import qkv.example.Failure;
import qkv.v1.AttentionServiceGrpc;

/** Puts every test vector of a suite to a server and prints what differs. */
@Command(name = "conformance", sortOptions = false,
        description = "Puts every test vector of a suite to a qkv server and prints what differs.")
public final class Conformance implements Callable<Integer> {
    @Mixin
    private Connection connection;

    @Option(names = "--vectors", required = true, paramLabel = "DIR", description = "the suite, with its manifest.json")
    private Path vectors;

    @Option(names = {"-h", "--help"}, usageHelp = true, description = "show this help")
    private boolean help;

    @Spec
    private CommandSpec command;

    public static void main(String... arguments) {
        System.exit(new CommandLine(new Conformance()).execute(arguments));
    }

    /** The exit status: 0 if there are cases and all pass, else 1; 2 for a wrong command line or suite. */
    @Override
    public Integer call() {
        Suite suite = readSuite();
        int failed = 0;
        ManagedChannel channel = connection.open();
        try {
            for (Case test : suite.cases()) {
                List<String> differences = run(test, channel);
                if (!differences.isEmpty()) {
                    String inOneLine = String.join("; ", differences).replaceAll("\\s*\n\\s*", " ");
                    System.out.println(test.name() + ": " + inOneLine);
                    failed++;
                }
            }
        } finally {
            channel.shutdownNow();
        }
        int passed = suite.cases().size() - failed;
        System.out.printf("java: %d passed, %d failed%n", passed, failed);
        return failed == 0 && passed > 0 ? 0 : 1;
    }

    private Suite readSuite() {
        try {
            return Suite.read(vectors);
        } catch (IOException exception) {
            throw new ParameterException(command.commandLine(), "--vectors: cannot read " + exception.getMessage());
        } catch (RuntimeException exception) {
            throw new ParameterException(command.commandLine(), "--vectors: " + exception.getMessage());
        }
    }

    /** What differs from the expectation; a case that cannot be put to the server, or read, differs too. */
    private List<String> run(Case test, Channel channel) {
        try {
            var tensors = test.file() == null ? Safetensors.NONE : Safetensors.read(vectors.resolve(test.file()));
            MethodDescriptor<Message, Message> method = method(test.method());
            var prototype = ((PrototypeMarshaller<Message>) method.getRequestMarshaller()).getMessagePrototype();
            Message request = Requests.build(prototype, test, tensors);
            long timeout = (long) (test.timeoutSeconds() * 1e9);
            var options = CallOptions.DEFAULT.withDeadlineAfter(timeout, TimeUnit.NANOSECONDS);
            Message response;
            try {
                response = ClientCalls.blockingUnaryCall(channel, method, options, request);
            } catch (StatusRuntimeException exception) {
                var failure = Failure.of(exception);
                return test.error() == null ? List.of(failure.toString()) : Comparison.ofFailure(failure, test.error());
            }
            return test.expected() == null
                    ? List.of("answered, expected " + test.error())
                    : Comparison.ofResponse(response, test.expected(), tensors);
        } catch (IOException | RuntimeException exception) {
            return List.of(exception.toString());
        }
    }

    /** The method of AttentionService with this name; its marshallers know the messages that it takes and gives. */
    @SuppressWarnings("unchecked")
    private static MethodDescriptor<Message, Message> method(String name) {
        return AttentionServiceGrpc.getServiceDescriptor().getMethods().stream()
                .filter(method -> name.equals(method.getBareMethodName()))
                .map(method -> (MethodDescriptor<Message, Message>) method)
                .findAny()
                .orElseThrow(() -> new IllegalArgumentException("AttentionService has no method " + name));
    }
}
