package qkv.conformance;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.annotations.SerializedName;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;

/** A suite of test vectors, as its manifest.json describes it. */
record Suite(List<Case> cases) {
    private static final int FORMAT = 1;

    Suite {
        cases = cases == null ? List.of() : cases;
    }

    /**
     * One call and what must come of it: either an answer or an error.
     *
     * @param request in proto3 JSON, without the operands that are tensors
     * @param file where the tensors are; null if there are none
     * @param inputs name of the tensor in the file, by the operand's path in the request
     * @param expected by name of the response's field; null if an error is expected
     */
    record Case(
            String name,
            String method,
            JsonObject request,
            String file,
            Map<String, String> inputs,
            Map<String, Answer> expected,
            Refusal error,
            @SerializedName("timeout_seconds") Double timeoutSeconds) {
        Case {
            inputs = inputs == null ? Map.of() : inputs;
            timeoutSeconds = timeoutSeconds == null ? 30.0 : timeoutSeconds;
            if ((expected == null) == (error == null)) {
                throw new IllegalArgumentException(name + ": needs either an expected answer or an error");
            }
        }
    }

    /** An operand of the answer: every element within absolute + relative·|expected| of the named tensor's. */
    record Answer(String tensor, String dataType, boolean matrix, List<Long> shape, double absolute, double relative) {}

    /** An error: gRPC's status, the reason of ErrorInfo (null: no details) and the fields that BadRequest names. */
    record Refusal(String code, String reason, SortedSet<String> fields) {
        Refusal {
            fields = fields == null ? new TreeSet<>() : fields;
        }
    }

    /** Reads the suite in a directory; throws IllegalArgumentException if it is of another format. */
    static Suite read(Path directory) throws IOException {
        var manifest = JsonParser.parseString(Files.readString(directory.resolve("manifest.json"))).getAsJsonObject();
        if (!manifest.has("format") || manifest.get("format").getAsInt() != FORMAT) {
            throw new IllegalArgumentException(
                    "the vectors are of format " + manifest.get("format") + ", this runner reads format " + FORMAT);
        }
        return new Gson().fromJson(manifest, Suite.class);
    }
}
