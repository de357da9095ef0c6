package qkv.conformance;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import java.util.Iterator;
import java.util.List;
import qkv.conformance.Suite.Case;
import qkv.v1.TensorOuterClass.Operand;

/** Requests of any method, by reflection: from proto3 JSON, and tensors that are put at paths. */
final class Requests {
    private Requests() {}

    static Message build(Message prototype, Case test, Safetensors tensors) throws InvalidProtocolBufferException {
        Message.Builder request = prototype.newBuilderForType();
        JsonFormat.parser().merge(test.request().toString(), request);
        test.inputs().forEach((path, name) ->
                operandAt(request, List.of(path.split("\\.")).iterator()).setTensor(tensors.get(name)));
        return request.build();
    }

    /** The operand at what is left of a path: names of fields, and after the name of a repeated field an index. */
    private static Operand.Builder operandAt(Message.Builder message, Iterator<String> path) {
        if (!path.hasNext()) {
            return (Operand.Builder) message;
        }
        String name = path.next();
        var field = message.getDescriptorForType().findFieldByName(name);
        if (field == null) {
            throw new IllegalArgumentException(message.getDescriptorForType().getName() + " has no field " + name);
        }
        if (!field.isRepeated()) {
            return operandAt(message.getFieldBuilder(field), path);
        }
        int index = Integer.parseInt(path.next());
        while (message.getRepeatedFieldCount(field) <= index) {
            message.addRepeatedField(field, message.newBuilderForField(field).build());
        }
        return operandAt(message.getRepeatedFieldBuilder(field, index), path);
    }
}
