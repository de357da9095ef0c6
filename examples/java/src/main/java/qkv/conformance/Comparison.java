package qkv.conformance;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import qkv.conformance.Suite.Answer;
import qkv.conformance.Suite.Refusal;
import qkv.example.Failure;
import qkv.v1.TensorOuterClass.Operand;
import qkv.v1.TensorOuterClass.Tensor;

/** What came of a call against what was expected: the differences in words, none if it passes. */
final class Comparison {
    private Comparison() {}

    /** The operands of a response: exactly the expected ones, each with its form, type, shape and numbers. */
    static List<String> ofResponse(Message response, Map<String, Answer> expected, Safetensors tensors) {
        var operands = response.getDescriptorForType().getFields().stream()
                .filter(Comparison::isOperand)
                .collect(Collectors.toMap(FieldDescriptor::getName, Function.identity()));
        var names = new TreeSet<>(operands.keySet());
        names.addAll(expected.keySet());
        var differences = new ArrayList<String>();
        for (String name : names) {
            boolean answered = operands.containsKey(name) && response.hasField(operands.get(name));
            if (answered != expected.containsKey(name)) {
                differences.add(name + (answered ? ": was not asked for" : ": missing"));
            } else if (answered) {
                var answer = (Operand) response.getField(operands.get(name));
                var want = expected.get(name);
                ofOperand(answer, want, tensors.get(want.tensor()))
                        .forEach(difference -> differences.add(name + ": " + difference));
            }
        }
        return differences;
    }

    /** The status and the details of an error. */
    static List<String> ofFailure(Failure failure, Refusal expected) {
        var fields = failure.violations().stream()
                .map(violation -> violation.getField())
                .collect(Collectors.toCollection(TreeSet::new));
        var actual = new Refusal(failure.code().name(), failure.reason().orElse(null), fields);
        return actual.equals(expected) ? List.of() : List.of(actual + ", expected " + expected);
    }

    private static boolean isOperand(FieldDescriptor field) {
        return field.getJavaType() == FieldDescriptor.JavaType.MESSAGE
                && field.getMessageType() == Operand.getDescriptor();
    }

    private static List<String> ofOperand(Operand answer, Answer expected, Tensor numbers) {
        String form = describe(answer);
        String expectedForm = (expected.matrix() ? "matrix" : expected.dataType()) + " " + expected.shape();
        if (!form.equals(expectedForm)) {
            return List.of(form + ", expected " + expectedForm);
        }
        double[] actual = Elements.of(answer);
        double[] wanted = Elements.of(numbers);
        if (actual.length != wanted.length) {
            return List.of(actual.length + " elements, expected " + wanted.length);
        }
        for (int i = 0; i < wanted.length; i++) {
            if (!isClose(actual[i], wanted[i], expected.absolute() + expected.relative() * Math.abs(wanted[i]))) {
                return List.of("element " + i + " is " + actual[i] + ", expected " + wanted[i]);
            }
        }
        return List.of();
    }

    private static String describe(Operand operand) {
        return switch (operand.getSourceCase()) {
            case MATRIX -> "matrix " + List.of(operand.getMatrix().getRows(), operand.getMatrix().getColumns());
            case TENSOR -> operand.getTensor().getDataType() + " " + operand.getTensor().getShapeList();
            case SOURCE_NOT_SET -> "operand without a source";
        };
    }

    private static boolean isClose(double actual, double expected, double tolerance) {
        if (Double.isNaN(expected) || Double.isInfinite(expected)) {
            return Double.compare(actual, expected) == 0;
        }
        return Math.abs(actual - expected) <= tolerance;
    }
}
